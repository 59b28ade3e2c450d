"""Count what the popularity models score by: one row an item, written in shards."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender import config
from recommender.dataset import TRAIN
from recommender.distributed.layout import (
    ALL_TIME,
    BEFORE,
    DECAYED,
    ITEM_SCORES,
    RECENT,
)
from recommender.interactions import SECONDS_PER_DAY
from recommender.locations import join

_ITEMS_PER_SHARD = 2_000_000


def write(
    session: SparkSession, dataset: str, fit_rows: DataFrame, settings: config.Train, output: str
) -> None:
    """Score every item over the fit rows and, for the measure of newcomers, over training alone."""
    catalogue = session.read.parquet(join(dataset, "items")).select(c.ITEM)
    training = session.read.parquet(join(dataset, TRAIN))
    table = catalogue.join(_scores(fit_rows, settings, ""), c.ITEM, "left")
    table = table.join(_scores(training, settings, BEFORE), c.ITEM, "left").fillna(0)
    shards = 1 + catalogue.count() // _ITEMS_PER_SHARD
    spread = table.repartition(1) if shards == 1 else table.repartitionByRange(shards, c.ITEM)
    uri = join(output, ITEM_SCORES)
    spread.sortWithinPartitions(c.ITEM).write.mode("overwrite").parquet(uri)


def _scores(rows: DataFrame, settings: config.Train, prefix: str) -> DataFrame:
    newest = rows.agg(F.max(c.TIMESTAMP)).first()
    latest = (newest[0] if newest else None) or 0
    age = (F.lit(latest) - F.col(c.TIMESTAMP)) / F.lit(float(SECONDS_PER_DAY))
    recent = F.sum((age < settings.recent_days).cast("long"))
    decayed = F.sum(F.pow(F.lit(2.0), -age / settings.popularity_half_life_days))
    found: dict[str, Column] = {
        ALL_TIME: F.count(F.lit(1)),
        RECENT: recent,
        DECAYED: decayed.cast("float"),
    }
    assert found.keys() == set(c.POPULARITY_MODELS)  # noqa: S101 - the names are one list
    return rows.groupBy(c.ITEM).agg(*(how.alias(prefix + name) for name, how in found.items()))

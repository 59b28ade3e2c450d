"""Train on a cluster: fit, count and write a sharded candidate, every table by the executors."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender import config, history, storage
from recommender.artifact import ALS
from recommender.dataset import TRAIN, VALIDATION
from recommender.distributed import item_scores
from recommender.distributed.layout import FOLDERS, HISTORY_ROWS
from recommender.distributed.spark_als import SparkEngine, merged
from recommender.locations import join

_log = logging.getLogger(__name__)
_ROWS_PER_SHARD = 5_000_000
_TYPICAL = "typical"
NOT_DISTRIBUTED = "engine spark fits ALS and the popularity models only"


def train(
    session: SparkSession,
    dataset: str,
    shape: tuple[int, int],
    recommender: config.Recommender,
    output: str,
) -> dict[str, Any]:
    """Write models, id tables and history below ``output``; return what to note of the training.

    Args:
        session: on which it runs.
        dataset: directory of the prepared dataset.
        shape: (users, items) of its id tables.
        recommender: configuration; ``train.distributed`` is fitted as it is.
        output: empty directory of the candidate.
    """
    settings = recommender.train
    windows = tuple(join(dataset, name) for name in (TRAIN, VALIDATION))
    engine = SparkEngine(session, join(output, ALS))
    fit_rows = merged(session, windows).persist(StorageLevel.MEMORY_AND_DISK)
    fitted = engine.fit_pairs(fit_rows, shape, settings.distributed, settings.seed)
    began = time.monotonic()
    item_scores.write(session, dataset, fit_rows, settings, output)
    counted = round(time.monotonic() - began, 3)
    rows = _write_history(fit_rows, output)
    fit_rows.unpersist()
    kept: list[str] = [name for name in settings.contenders if name in c.POPULARITY_MODELS]
    _write_models(settings, kept, output)
    for name in FOLDERS:
        _copy(join(dataset, name), join(output, name))
    seconds: dict[str, float] = {ALS: round(fitted.seconds, 3), **dict.fromkeys(kept, counted)}
    return {
        "rows": rows,
        "seconds_fit": seconds,
        "validation_curve": [],
        "train_loss": None,
        "warm_start": None,
        "left_out": {n: NOT_DISTRIBUTED for n in settings.contenders if n not in kept},
    }


def _write_history(fit_rows: DataFrame, output: str) -> int:
    """Write who has what in shards, sorted by user, then item; return how many rows."""
    per_user = fit_rows.groupBy(c.USER).agg(F.count(F.lit(1)).alias("n"))
    typical = per_user.agg(F.expr("percentile(n, 0.5)").alias(_TYPICAL))
    newest = fit_rows.agg(F.max(c.TIMESTAMP).alias("newest"), F.count(F.lit(1)).alias("rows"))
    facts = newest.crossJoin(typical).first()
    rows = int(facts["rows"]) if facts else 0
    told = {"newest": int(facts["newest"]), "typical_rows": float(facts[_TYPICAL])} if facts else {}
    storage.write_json(join(output, history.HISTORY, history.FACTS.rsplit("/", 1)[-1]), told)
    shards = 1 + rows // _ROWS_PER_SHARD
    pairs = fit_rows.select(c.USER, c.ITEM)
    spread = pairs.repartition(1) if shards == 1 else pairs.repartitionByRange(shards, c.USER)
    ordered = spread.sortWithinPartitions(c.USER, c.ITEM)
    ordered.write.mode("overwrite").parquet(join(output, history.HISTORY, HISTORY_ROWS))
    return rows


def _write_models(settings: config.Train, kept: list[str], output: str) -> None:
    """Write what each model's ``save`` writes beside its arrays."""
    als = {"settings": settings.distributed.model_dump(), "seed": settings.seed}
    documents: dict[str, Mapping[str, Any]] = {
        ALS: {"model": "als", **als},
        "popularity": {"model": "popularity", "recent_days": None},
        "popularity_recent": {"model": "popularity", "recent_days": settings.recent_days},
        "popularity_decayed": {
            "model": "popularity_decayed",
            "half_life_days": settings.popularity_half_life_days,
        },
    }
    for name in (ALS, *kept):
        storage.write_json(join(output, name, "model.json"), documents[name])


def _copy(source: str, target: str) -> None:
    """Copy a directory's files; from S3 to S3 no byte passes through here."""
    for file in storage.list_files(source):
        storage.copy(file.uri, join(target, file.uri.removeprefix(source.rstrip("/") + "/")))

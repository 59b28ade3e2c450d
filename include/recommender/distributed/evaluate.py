"""Measure a sharded candidate on a cluster: ranges of users side by side, their sums on the driver."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender import storage
from recommender.artifact import ALS
from recommender.config import Evaluate
from recommender.dataset import TEST, TRAIN, VALIDATION
from recommender.distributed import report as reports
from recommender.distributed import tables
from recommender.distributed.layout import ALL_TIME, ITEM_SCORES
from recommender.distributed.measure import Places, measure
from recommender.distributed.spark_als import INDEX
from recommender.distributed.tally import Tally
from recommender.errors import EmptyDatasetError
from recommender.locations import MANIFEST, join

_log = logging.getLogger(__name__)
# What a range takes in an executor's Python: lists and rows of so many users, some 200 MB.
RANGE_USERS, RANGE_ROWS = 20_000, 2_000_000


def evaluate(
    session: SparkSession,
    dataset: str,
    shape: tuple[int, int],
    candidate: str,
    about: dict[str, Any],
    champion: str | None,
    settings: Evaluate,
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Return the report's measured part, the samples and the probes.

    Args:
        session: on which it runs.
        dataset: directory of the prepared dataset.
        shape: (users, items) of its id tables.
        candidate: directory of the sharded candidate.
        about: facts of its manifest.
        champion: directory of the version in use; None when there is none.
        settings: how to measure.

    Raises:
        EmptyDatasetError: nobody can be measured.
    """
    kept = [name for name in c.POPULARITY_MODELS if _has(candidate, name)]
    places = Places(
        windows={n: tables.open_table(join(dataset, n), c.USER) for n in (TRAIN, VALIDATION, TEST)},
        user_ids=tables.open_table(join(dataset, "users"), c.USER),
        user_factors=tables.open_table(join(candidate, ALS, "user_factors"), INDEX),
        item_factors=tables.open_table(join(candidate, ALS, "item_factors"), INDEX),
        item_scores=tables.open_table(join(candidate, ITEM_SCORES), c.ITEM),
        item_ids=tables.open_table(join(dataset, "items"), c.ITEM),
        models=tuple(kept),
        champion=champion,
        objective=about["setting"],
        settings=settings,
    )
    key = f"{storage.sha256(join(candidate, MANIFEST))} beside {champion}"
    tally = _measure(session, places, shape[0], key)
    if not tally.population.get("users"):
        message = (
            "expected users with a held-out item that is new to them and known to the model, "
            f"found none: {tally.population}. Lengthen preprocess.holdout_days or lower the "
            "minimum support"
        )
        raise EmptyDatasetError(message)
    found = reports.report(tally, _popularity(session, candidate), settings)
    found["cold"] = reports.cold(tally)
    return found, reports.samples(tally), reports.probes(tally, settings)


def ranges(users: int, rows: int, wanted: int) -> list[tuple[int, int]]:
    """Cut users into ranges of bounded size, as many as there are cores if the users allow."""
    by_rows = max(1, int(RANGE_ROWS * users / max(1, rows)))
    width = max(1, min(RANGE_USERS, by_rows, -(-users // max(1, wanted))))
    return [(first, min(users, first + width)) for first in range(0, users, width)]


def _measure(session: SparkSession, places: Places, users: int, key: str) -> Tally:
    rows = sum(table.rows for table in places.windows.values())
    cut = ranges(users, rows, session.sparkContext.defaultParallelism)
    _log.info(f"measuring {users:,} users in {len(cut):,} ranges")
    task = partial(_task, key, places)
    tallies = session.sparkContext.parallelize(cut, len(cut)).map(task)
    return tallies.treeReduce(lambda one, other: one + other)


def _task(key: str, places: Places, bounds: tuple[int, int]) -> Tally:
    return measure(key, places, *bounds)


def _popularity(session: SparkSession, candidate: str) -> dict[int, int]:
    """Return how many items have so many fit interactions: a table of distinct counts."""
    table = session.read.parquet(join(candidate, ITEM_SCORES))
    counted = table.groupBy(ALL_TIME).agg(F.count(F.lit(1)).alias("items")).collect()
    return {int(row[ALL_TIME]): int(row["items"]) for row in counted}


def _has(candidate: str, model: str) -> bool:
    return storage.exists(join(candidate, model, "model.json"))

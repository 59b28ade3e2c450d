"""Fit with pyspark.ml's ALS: what outgrows one machine.

It minimises sum (1 + alpha |r|) (p - x'y)^2 + regParam * (n_u |x|^2 + n_i |y|^2), n the positives of
the row (ALS-WR): the canonical objective at exponent 1, divided by ``unobserved``, if alpha * |r| + 1 is
the weight of the positive over that of an unobserved pair. The factors are written by the executors.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time

from pyspark import StorageLevel
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender.errors import BadDataError
from recommender.locations import join
from recommender.models.als.engine import (
    Fitted,
    OnIteration,
    Run,
    StoredFactors,
    StoredRows,
    peak_bytes,
)
from recommender.objective import SPARK, Als, Engine

_log = logging.getLogger(__name__)
INDEX, FACTORS, _RATING = "index", "factors", "rating"
# Every iteration lengthens the lineage; by fifty it would overflow the stack. Two checkpoints in ten
# iterations cost a write of the item factors each.
CHECKPOINT_EVERY = 5
_ROWS_PER_BLOCK = 1_000_000  # about 12 MB of ratings, and their copies while a block is built
_SHARD_BYTES = 64 << 20
_directories: list[tempfile.TemporaryDirectory[str]] = []


class SparkEngine:
    """Minimise the objective on a cluster.

    Attributes:
        session: on which it runs.
        output: directory below which the factors go, ``user_factors/`` and ``item_factors/``.
    """

    name: Engine = SPARK

    def __init__(self, session: SparkSession, output: str) -> None:
        self.session = session
        self.output = output

    def fit(
        self,
        rows: StoredRows,
        als: Als,
        run: Run,
        *,
        start: StoredFactors | None = None,
        on_iteration: OnIteration[StoredFactors] | None = None,
    ) -> Fitted[StoredFactors]:
        """See ``engine.Engine``; there is no start and no look between iterations.

        Equal input, seed and number of blocks give equal factors but for the order in which Spark adds
        up what arrives from other blocks: the last digits.
        """
        if start is not None or on_iteration is not None:
            message = "engine spark starts anew and shows no iterations; objective.LIMITS says so"
            raise ValueError(message)
        pairs = merged(self.session, rows.uris).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            return self.fit_pairs(pairs, rows.shape, als, run.seed)
        finally:
            pairs.unpersist()

    def fit_pairs(
        self, pairs: DataFrame, shape: tuple[int, int], als: Als, seed: int
    ) -> Fitted[StoredFactors]:
        """Fit rows that the caller has kept and has more to do with; else as ``fit``.

        Args:
            pairs: from ``merged``, kept.
            shape: (users, items).
            als: settings.
            seed: of the start.
        """
        began = time.monotonic()
        _keep_checkpoints(self.session)
        ratings, count = _ratings(pairs, als)
        blocks = max(10, self.session.sparkContext.defaultParallelism, count // _ROWS_PER_BLOCK)
        _log.info(f"als on spark: {count:,} pairs in {blocks} blocks, {als}")
        model = _estimator(als, seed, blocks).fit(ratings)
        stored = StoredFactors(*(join(self.output, f"{side}_factors") for side in (c.USER, c.ITEM)))
        sides = zip((model.userFactors, model.itemFactors), stored, shape, strict=True)
        for frame, uri, size in sides:
            _write(frame, uri, size * als.factors * 4)
        seconds = time.monotonic() - began
        _log.info(f"als on spark: {als.iterations} iterations and the factors in {seconds:.1f} s")
        return Fitted(stored, (), seconds, peak_bytes())


def merged(session: SparkSession, uris: tuple[str, ...]) -> DataFrame:
    """Read windows; a pair that is in several is one row, its strongest and latest."""
    frame = session.read.parquet(*uris)
    if len(uris) == 1:
        return frame
    strongest, latest = F.max(c.CONFIDENCE), F.max(c.TIMESTAMP)
    return frame.groupBy(c.USER, c.ITEM).agg(
        strongest.alias(c.CONFIDENCE), latest.alias(c.TIMESTAMP)
    )


def translate(als: Als) -> dict[str, float]:
    """Return pyspark's ``alpha`` and ``regParam`` for ratings of ``weight - 1``."""
    return {"alpha": 1.0, "regParam": als.regularization / als.unobserved}


def _ratings(pairs: DataFrame, als: Als) -> tuple[DataFrame, int]:
    """Return ratings with 1 + rating = the weight of the positive over the unobserved's, and how many.

    Raises:
        BadDataError: some positive would weigh no more than an unobserved pair, which Spark takes for
            a dislike.
    """
    weight = F.col(c.CONFIDENCE) * F.lit(als.alpha / als.unobserved)
    ratings = pairs.select(c.USER, c.ITEM, (weight - 1).cast("float").alias(_RATING))
    facts = ratings.agg(F.count(F.lit(1)).alias("n"), F.min(_RATING).alias("least")).first()
    if facts is None or not facts["n"]:
        message = "expected interactions to fit, found none in the training and validation windows"
        raise BadDataError(message)
    if facts["least"] <= 0:
        message = (
            "engine spark: expected every confidence times train.distributed.alpha to be above "
            f"unobserved ({als.unobserved:g}), found {als.unobserved * (facts['least'] + 1):g}; raise alpha"
        )
        raise BadDataError(message)
    return ratings, int(facts["n"])


def _estimator(als: Als, seed: int, blocks: int) -> ALS:
    translated = translate(als)
    return ALS(
        rank=als.factors,
        maxIter=als.iterations,
        implicitPrefs=True,
        userCol=c.USER,
        itemCol=c.ITEM,
        ratingCol=_RATING,
        seed=seed,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        checkpointInterval=CHECKPOINT_EVERY,
        intermediateStorageLevel="MEMORY_AND_DISK",
        finalStorageLevel="MEMORY_AND_DISK",
        alpha=translated["alpha"],
        regParam=translated["regParam"],
    )


def _write(frame: DataFrame, uri: str, size: int) -> None:
    """Write factors in shards, sorted by index over all of them."""
    shards = max(1, math.ceil(size / _SHARD_BYTES))
    rows = frame.select(F.col("id").cast("int").alias(INDEX), F.col("features").alias(FACTORS))
    spread = rows.repartition(1) if shards == 1 else rows.repartitionByRange(shards, INDEX)
    spread.sortWithinPartitions(INDEX).write.mode("overwrite").parquet(uri)


def _keep_checkpoints(session: SparkSession) -> None:
    """Give the session a checkpoint directory: without one Spark ignores the interval in silence."""
    context = session.sparkContext
    if context.getCheckpointDir() is None:
        # For every fit of the session, and gone with the process: Spark deletes old ones in its own time.
        directory = tempfile.TemporaryDirectory(
            prefix="recsys-checkpoints-", ignore_cleanup_errors=True
        )
        _directories.append(directory)
        context.setCheckpointDir(directory.name)

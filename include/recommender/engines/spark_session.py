"""Build the Spark session: every setting the results depend on is explicit, with its reason."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

_MIB = 1 << 20

SETTINGS = {
    # A timestamp without a zone is UTC, wherever the cluster stands.
    "spark.sql.session.timeZone": "UTC",
    # Spark 4 turns ANSI on; bad values are found by rules of ours, not by a failing cast.
    "spark.sql.ansi.enabled": "false",
    # Joins and partition counts adapt to the sizes found; also joins skewed by popular items.
    "spark.sql.adaptive.enabled": "true",
    # Up to 200 partitions (the default) a task opens a file for each of them: at 150, 22,500 files a
    # shuffle, which took ten times as long as their rows. Beyond this number it sorts them into one.
    "spark.shuffle.sort.bypassMergeThreshold": "32",
    # Each aggregation and sort of each task begins by clearing pages of this size. By default they are
    # a 32nd of the memory, and that took longer than the work of small tasks.
    "spark.buffer.pageSize": "2m",
    # A shuffle's parts are merged up to this size, and a join whose smaller side has none above it is
    # done by hashing: sorting both sides for it takes three times as long.
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "32MB",
    "spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold": "32MB",
    # A writer holds a row group; several write at once beside their sorts.
    "spark.hadoop.parquet.block.size": str(32 * _MIB),
    # By files' sizes no more than a million keys are broadcast: their hash table takes ten times as much.
    # What is known to be few says so itself.
    "spark.sql.autoBroadcastJoinThreshold": str(8 * _MIB),
    # A damaged or vanished file stops the run; with true its rows would be lost in silence.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # Thousands of input paths are listed by 64 tasks, not by one task each (the default).
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "64",
    # What is kept is read two or three times; packing its columns costs a third of parsing them.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Lines go to the Python workers in batches: 2 MB of reviews, and few enough that long ones do not
    # add up.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4096",
    # Every reader knows snappy; the codec is fixed so that equal content gives equal bytes.
    "spark.sql.parquet.compression.codec": "snappy",
    # A directory is trusted by its manifest; _SUCCESS would only be one more object.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # The progress bar overwrites lines of stderr, where the error has to stand last.
    "spark.ui.showConsoleProgress": "false",
}

# Parsed rows are a third of the raw text at most, so 64 MiB of text is about 20 MiB of shuffle.
_TEXT_BYTES_PER_PARTITION = 64 * _MIB


@contextmanager
def session(app_name: str) -> Iterator[SparkSession]:
    """Give a session with ``SETTINGS``; stop it afterwards unless it was running before.

    The master and the resources come from spark-submit; a plain Python start runs on
    ``local[*]``, pyspark's default.
    """
    running = SparkSession.getActiveSession() is not None
    builder = SparkSession.builder.appName(app_name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not under spark-submit: no JVM is up yet
        builder = builder.config("spark.driver.memory", "2g").config("spark.ui.enabled", "false")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the workers' is PATH's
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    _set_checkpoint_directory(spark)
    try:
        yield spark
    finally:
        if not running:
            spark.stop()


def size_shuffles(spark: SparkSession, text_bytes: int) -> int:
    """Set the number of shuffle partitions from the size of the raw text and return it.

    The default of 200 costs seconds of empty tasks on small data and is too few for large data.
    """
    wanted = math.ceil(text_bytes / _TEXT_BYTES_PER_PARTITION)
    wanted = max(spark.sparkContext.defaultParallelism, wanted)
    spark.conf.set("spark.sql.shuffle.partitions", wanted)
    return wanted


def has_hdfs(spark: SparkSession) -> bool:
    """Tell a cluster with a file system of its own from one machine."""
    # Hadoop's configuration has no public Python face.
    file_system = spark.sparkContext._jsc.hadoopConfiguration().get("fs.defaultFS", "")
    return str(file_system).startswith("hdfs:")


def _set_checkpoint_directory(spark: SparkSession) -> None:
    """Use the cluster's HDFS for checkpoints; it disappears with the transient cluster."""
    context = spark.sparkContext
    if has_hdfs(spark) and context.getCheckpointDir() is None:
        context.setCheckpointDir("/tmp/recommender-checkpoints")  # noqa: S108 - HDFS's own /tmp

"""Do on Spark what each engine does in its own way."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain, count
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from py4j.protocol import Py4JError, Py4JJavaError  # type: ignore[import-untyped]  # py4j has no types
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender.engines import (
    LINES_PER_FILE,
    ROWS_PER_FILE,
    duckdb_engine,
    executor_reading,
    spark_session,
)
from recommender.errors import ConfigError, TornFileError
from recommender.schemas import Schema, ddl
from recommender.sources.lines import BLOCK, LINES, POSITION, Reading
from recommender.sources.peek import is_gzip_name
from recommender.storage import FileInfo

logger = logging.getLogger(__name__)

# monotonically_increasing_id holds the partition above bit 33 and the row of it below.
_PARTITION_BITS = 33
_ROW = "row"

# Rows of a key and an index that are sent to every executor: some 70 MB there.
_BROADCAST_ROWS = 1_000_000

# Smaller gzips are parsed before a shuffle would have spread them.
_SPREAD_BYTES = 16 << 20

# What Hadoop's decompressors say of a torn or damaged file.
_CRASHED = "Python worker exited"
_TORN = ("EOFException", "ZipException", "gzip", "Decompressor", "DataFormatException")


class _Settled(NamedTuple):
    frame: DataFrame
    uri: str
    rows: int


class SparkEngine:
    """Implement ``Engine`` over a session; see there."""

    name = "spark"
    functions = F
    side_by_side = True  # each action is one task for small data; Spark runs several jobs' tasks

    def __init__(self, session: SparkSession) -> None:
        self.session = session
        self._numbers = count()
        self._settled: dict[int, _Settled] = {}

    def frame(self, rows: Sequence[tuple[Any, ...]], schema: Schema) -> DataFrame:
        """Make a small frame of rows at hand."""
        return self.session.createDataFrame(list(rows), ddl(schema))

    def read(self, files: Sequence[FileInfo]) -> DataFrame:
        """Read text; large plain files are split, and a few huge gzips are spread once unpacked."""
        packed = [f for f in files if is_gzip_name(f.uri) and f.size >= _SPREAD_BYTES]
        cores = self.session.sparkContext.defaultParallelism
        if not packed or len(packed) >= cores:
            return self._lines(files)
        # One core unpacks a gzip. Parsing takes ten times as long and is worth a shuffle of text;
        # by position, which needs no sort to be the same when a task is run again.
        spread = self._lines(packed).repartition(_shuffles(self.session), POSITION)
        others = [f for f in files if f not in packed]
        return spread.union(self._lines(others)) if others else spread

    def _lines(self, files: Sequence[FileInfo]) -> DataFrame:
        # A lone carriage return is no end of a line, and the one of CRLF is trimmed.
        frame = self.session.read.text([_literal(f.uri) for f in files], lineSep="\n")
        return frame.select(
            F.col("value").alias(c.RAW),
            F.col("_metadata.file_name").alias(c.FILE),
            F.col("_metadata.file_block_start").alias(BLOCK),
            # Counts the rows of a partition, and a partition reads its pieces one after the other.
            F.monotonically_increasing_id().alias(POSITION),
        )

    def sort_lines(self, lines: DataFrame, reading: Reading) -> tuple[DataFrame, None]:
        """Read with DuckDB in the executors' Python workers, where both readings are one step."""
        # Bytes: as a string, what is no UTF-8 would be replaced by Java's rules, not by Python's.
        raw = F.col(c.RAW).cast("binary").alias(c.RAW)
        asked = lines.select(raw, c.FILE, BLOCK, POSITION)
        run = partial(executor_reading.read, compiled=duckdb_engine.compile_reading(reading))
        # Files rather than memory: what follows looks at a few of the columns at a time, or on another engine.
        return self.settle(asked.mapInArrow(run, ddl(LINES)))[0], None

    def keep(self, frame: DataFrame) -> DataFrame:
        """Compute at the first use; what does not fit into memory goes to disk."""
        return frame.persist(StorageLevel.MEMORY_AND_DISK)

    def release(self, frame: DataFrame) -> None:
        """Free what ``keep`` holds; see ``Engine.release`` for what was settled."""
        if id(frame) not in self._settled:
            frame.unpersist()

    def discard(self, frame: DataFrame) -> None:
        """Delete the files of what was settled."""
        self._delete(self._settled.pop(id(frame)).uri)

    def settle(self, frame: DataFrame) -> tuple[DataFrame, int]:
        """Write Parquet and read it again.

        A checkpoint would hold rows as objects, some 70 bytes for two keys, in the memory that the next
        step wants. On EMR the files lie on the core nodes, so a lost task node (Spot) costs nothing.
        """
        uri = f"{self._scratch}/settled-{next(self._numbers)}"
        frame.write.parquet(uri)
        settled = self.session.read.schema(frame.schema).parquet(uri)
        rows = settled.count()
        self._settled[id(settled)] = _Settled(settled, uri, rows)
        return settled, rows

    def hand_over(self, settled: DataFrame, folder: Path) -> None:
        """Move the Parquet files of what was settled into a folder of this machine."""
        path, files = self._at(self._settled.pop(id(settled)).uri)
        target, _ = self._at(folder.as_uri())
        files.copyToLocalFile(True, path, target, True)  # delete the source; no checksum files

    def settled_size(self, settled: DataFrame) -> tuple[int, int]:
        """Return the rows and the bytes on disk of what was settled."""
        found = self._settled[id(settled)]
        path, files = self._at(found.uri)
        return found.rows, int(files.getContentSummary(path).getLength())

    @cached_property
    def _scratch(self) -> str:
        """Return a directory that every executor sees.

        Raises:
            ConfigError: there is none; each node would write its part where the others miss it.
        """
        context = self.session.sparkContext
        if spark_session.has_hdfs(self.session):
            return f"hdfs:///tmp/recommender-{context.applicationId}"
        if not str(context.master).startswith("local"):
            message = (
                f"expected HDFS as the cluster's file system (fs.defaultFS), found none on "
                f"{context.master}: rows between steps would be lost. Run on EMR with HDFS, or on one machine"
            )
            raise ConfigError(message)
        self._directory = tempfile.TemporaryDirectory(prefix="recsys-spark-")
        return Path(self._directory.name).as_uri()

    def close(self) -> None:
        """Delete what was settled and not released; what fails here must not hide what failed before."""
        if "_scratch" in vars(self):
            try:
                self._delete(self._scratch)
            except (Py4JError, OSError) as error:
                logger.warning("%s is left behind: %s", self._scratch, error)

    def _delete(self, uri: str) -> None:
        path, files = self._at(uri)
        files.delete(path, True)

    def _at(self, uri: str) -> tuple[Any, Any]:
        """Return Hadoop's path and its file system, which have no public Python face."""
        java: Any = self.session.sparkContext
        path = java._jvm.org.apache.hadoop.fs.Path(uri)
        return path, path.getFileSystem(java._jsc.hadoopConfiguration())

    def small(self, frame: DataFrame, rows: int) -> DataFrame:
        """Broadcast it if it is; what Spark estimates of it may be far too much.

        If it may not be, it is computed on its own: then its size is known, and Spark splits the skewed
        part of a join only if both sides come from shuffles without any work in between.
        """
        if rows > _BROADCAST_ROWS:
            frame, rows = self.settle(frame)
        return F.broadcast(frame) if rows <= _BROADCAST_ROWS else frame

    def key(self, text: Column, salt: int) -> Column:
        """Use Spark's own hash of 64 bits."""
        return F.xxhash64(text, F.lit(salt))

    def number(self, ids: DataFrame, id_column: str, index: str) -> tuple[DataFrame, int]:
        """Sort by range, then add to each row the number of rows in the partitions before its own.

        Only one count per partition reaches the driver.
        """
        # Kept, because the sort looks at a sample first, and both passes below must see the very same
        # partitions.
        ids = ids.persist()
        rows = ids.orderBy(id_column).withColumn(_ROW, F.monotonically_increasing_id()).persist()
        partition = F.shiftright(_ROW, _PARTITION_BITS)
        counts = {
            int(row["partition"]): int(row["n"])
            for row in rows.groupBy(partition.alias("partition"))
            .agg(F.count(F.lit(1)).alias("n"))
            .collect()
        }
        ids.unpersist()
        starts, total = {}, 0
        for key in sorted(counts):
            starts[key] = total
            total += counts[key]
        if not total:
            return rows.select(F.lit(0).alias(index), *ids.columns), 0
        # Index = rows in earlier partitions + row within this one.
        shifts = F.create_map(
            *(F.lit(x) for x in chain(*((k, starts[k] - (k << _PARTITION_BITS)) for k in starts)))
        )
        number = F.col(_ROW) + F.element_at(shifts, partition.cast("int"))
        return rows.select(number.alias(index), *ids.columns), total

    def write_table(self, frame: DataFrame, rows: int, uri: str) -> None:
        """Write few files; equal rows give one file's equal bytes."""
        _sorted(frame, ceil(rows / ROWS_PER_FILE)).write.mode("overwrite").parquet(uri)

    def write_lines(self, frame: DataFrame, rows: int, uri: str) -> None:
        """Write JSON lines beside what is there."""
        ordered = _sorted(frame, ceil(rows / LINES_PER_FILE))
        ordered.write.mode("append").json(uri, compression="gzip")

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Know a torn gzip by what Hadoop says."""
        try:
            yield
        except (Py4JJavaError, PySparkException) as error:
            said = str(error)
            # A worker that was killed, for want of memory most often, is an end of a stream as well.
            if _CRASHED in said or not any(sign in said for sign in _TORN):
                raise
            raise TornFileError(str(error).splitlines()[0]) from error


def _shuffles(session: SparkSession) -> int:
    return int(session.conf.get("spark.sql.shuffle.partitions") or 1)


def _sorted(frame: DataFrame, files: int) -> DataFrame:
    keys = frame.columns[:2]
    spread = frame.repartition(1) if files <= 1 else frame.repartitionByRange(files, *keys)
    return spread.sortWithinPartitions(*keys)


def _literal(uri: str) -> str:
    """Escape what Hadoop would take for a wildcard."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)

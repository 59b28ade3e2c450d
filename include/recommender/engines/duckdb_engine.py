"""Do on DuckDB what each engine does in its own way; frames are SQLFrame's, with PySpark's API."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlframe.duckdb import DuckDBSession, Window, functions

from recommender import columns as c
from recommender import storage
from recommender.engines import LINES_PER_FILE, ROWS_PER_FILE, F, at_work
from recommender.engines.executor_reading import UNSETTLED, Compiled
from recommender.locations import join
from recommender.schemas import Schema
from recommender.sources import careful
from recommender.sources.blocks import Block, Reader
from recommender.sources.lines import (
    BLOCK,
    POSITION,
    SURE,
    TEXT,
    Reading,
    is_,
    key_column,
)
from recommender.storage import FileInfo

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec

logger = logging.getLogger(__name__)

_LINES: Schema = {c.RAW: "string", c.FILE: "string", BLOCK: "bigint", POSITION: "bigint"}
_ARROW = {"string": pa.string(), "bigint": pa.int64(), "int": pa.int32(), "float": pa.float32()}
_SQL = {"string": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER", "float": "FLOAT"}
_FULL, _SHORT = "full", "short"  # parsed with all keys, and without the optional ones
_ESCAPED_LETTER = r"\\u00(3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])"
_FETCH = 10_000  # rows taken into Python at a time

# Half of the memory: DuckDB counts its buffers, not the blocks of text on their way into it, nor
# the Python beside it. What does not fit goes to disk.
_MEMORY_SHARE = 0.5
# Of what others leave: a Spark that has read before still holds its heap.
_FREE_SHARE = 0.75


class DuckDbEngine:
    """Implement ``Engine`` over a database in a temporary directory; see there."""

    name = "duckdb"
    functions = functions
    side_by_side = False  # one connection; each query takes every core by itself

    def __init__(self, directory: Path, memory_bytes: int) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        self._kept: dict[int, tuple[DataFrame, str]] = {}
        self._folders: dict[str, Path] = {}  # of the views over files
        self._reader: Reader | None = None
        # Tables in memory spill like everything else, and are not compressed on their way.
        self.connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_bytes}B",
                "temp_directory": str(directory / "spill"),
                "autoinstall_known_extensions": "false",  # nodes have no internet
            },
        )
        self.session = DuckDBSession(self.connection)

    def frame(self, rows: Sequence[tuple[Any, ...]], schema: Schema) -> DataFrame:
        """Make a small frame of rows at hand."""
        name = self._create_empty(schema)
        self._append(name, rows, schema)
        return self._table(name)

    def read(self, files: Sequence[FileInfo]) -> DataFrame:
        """Give the raw lines as a stream: it can be used once."""
        self._reader = Reader(files)
        schema = _arrow_schema(_LINES)
        name_of_file = pa.field(c.FILE, pa.dictionary(pa.int32(), pa.string()))  # one a block
        schema = schema.set(schema.get_field_index(c.FILE), name_of_file)
        batches = (_batch(block, schema) for block in self._reader)
        name = self._name()
        self.connection.register(name, pa.RecordBatchReader.from_batches(schema, batches))
        self.session.catalog.add_table(name, column_mapping=dict(_LINES))
        return cast("DataFrame", self.session.table(name))

    def sort_lines(self, lines: DataFrame, reading: Reading) -> tuple[DataFrame, DataFrame | None]:
        """Read fast into a table, and what is unsettled once more, with care, into another."""
        first = self.keep(reading.fast(lines, self.parse))
        unsettled = first.filter(is_(UNSETTLED)).select(c.FILE, BLOCK, POSITION, c.RAW)
        if not unsettled.count():
            return first, None
        found = self._read_again(unsettled, reading)
        return first, self.keep(reading.settled(found))

    def compile(self, reading: Reading) -> Compiled:
        """Give the rules as SQL over tables of the same names elsewhere."""
        lines, found = self._create_empty(_LINES), self._create_empty(_found(reading))
        return Compiled(
            _sql(reading.fast(self._table(lines), self.parse)),
            _sql(reading.settled(self._table(found))),
            lines,
            found,
            tuple(reading.source.keys),
            tuple(map(key_column, reading.source.keys)),
            reading.ids,
        )

    def parse(self, lines: DataFrame, keys: Sequence[str], optional: Sequence[str]) -> DataFrame:
        """Parse the column ``text`` as JSON, fast: replace it by the keys' text and ``sure``.

        ``sure`` is True only if ``careful.read`` would accept the line and give the same text for
        every key; where it is not, the keys' columns mean nothing. A line without one of the keys
        that are not ``optional`` need not be sure. yyjson parses once: a wanted key that is absent,
        or occurs twice, is an error.
        """
        others = [name for name in lines.columns if name != TEXT]
        text, required = F.col(TEXT), [key for key in keys if key not in optional]
        # An error costs 20 us: that an optional key is absent is told by the text. A key may be
        # written with escapes of plain letters; few lines have an escape at all.
        escaped = F.when(text.contains("\\u00"), text.rlike(_ESCAPED_LETTER)).otherwise(
            F.lit(False)
        )
        named = [text.contains(f'"{key}"') for key in optional]
        present, absent = F.lit(True), F.lit(bool(optional))
        for key in named:
            present, absent = present & key, absent & ~key
        frame = lines.select(
            *others,
            F.when(present, _strict(text, keys)).alias(_FULL),
            # Nested: the two sides of "and" are both computed for every line.
            F.when(absent, F.when(~escaped, _strict(text, required))).alias(_SHORT),
        )
        full, short = F.col(_FULL), F.col(_SHORT)
        return frame.select(
            *others,
            (full.isNotNull() | short.isNotNull()).alias(SURE),
            *(full.getField(key).alias(key_column(key)) for key in keys if key in optional),
            *(
                F.coalesce(full.getField(key), short.getField(key)).alias(key_column(key))
                for key in required
            ),
        )

    def _read_again(self, lines: DataFrame, reading: Reading) -> DataFrame:
        """Read with care in Python, some lines at a time."""
        schema = _found(reading)
        name = self._create_empty(schema)
        for rows in self._rows(lines):
            found = []
            for file, block, position, raw in rows:
                line, reason, values = careful.read(raw, reading.source.keys, reading.ids)
                found.append((file, block, position, line, reason, *values))
            self._append(name, found, schema)
        return self._table(name)

    def keep(self, frame: DataFrame) -> DataFrame:
        """Compute now, into a table."""
        name = self._name()
        try:
            self.connection.execute(f"CREATE TABLE {name} AS {_sql(frame)}")
        except duckdb.Error:
            # What a reader raised reaches DuckDB as text only.
            if self._reader is not None and self._reader.error is not None:
                raise self._reader.error from None
            raise
        return self._table(name)

    def release(self, frame: DataFrame) -> None:
        """Drop the table that ``keep`` made, or the files of ``take``."""
        _, name = self._kept.pop(id(frame))
        folder = self._folders.pop(name, None)
        self.connection.execute(f"DROP {'VIEW' if folder else 'TABLE'} {name}")
        if folder:
            shutil.rmtree(folder)

    def folder(self) -> Path:
        """Return an empty folder that disappears with the engine."""
        path = self._directory / self._name()
        path.mkdir()
        return path

    def take(self, folder: Path) -> DataFrame:
        """Look at Parquet files as a frame, which is kept; the engine owns the folder."""
        name = self._name()
        self.connection.read_parquet(f"{folder}/**/*.parquet").create_view(name)
        self._folders[name] = folder
        return self._table(name)

    discard = release

    def settle(self, frame: DataFrame) -> tuple[DataFrame, int]:
        """Compute into a table, and count it."""
        kept = self.keep(frame)
        return kept, int(kept.count())

    def small(self, frame: DataFrame, rows: int) -> DataFrame:  # noqa: ARG002
        """Do nothing: all is in one place."""
        return frame

    def key(self, text: Column, salt: int) -> Column:
        """Use DuckDB's own hash: 64 bits without a sign, of which one goes."""
        return F.shiftright(F.call_function("hash", text, F.lit(salt)), 1).cast("bigint")

    def number(self, ids: DataFrame, id_column: str, index: str) -> tuple[DataFrame, int]:
        """Sort (by bytes, DuckDB's own order of text) and count the rows."""
        number = F.row_number().over(cast("WindowSpec", Window.orderBy(id_column))) - 1
        numbered = ids.select(number.alias(index), *ids.columns)
        return self.settle(numbered.orderBy(index))

    def write_table(self, frame: DataFrame, rows: int, uri: str) -> None:
        """Write files one after the other; equal rows give equal bytes."""
        files = max(1, ceil(rows / ROWS_PER_FILE))
        keys = ", ".join(f'"{name}"' for name in frame.columns[:2])
        name = self._name()
        self.connection.execute(f"CREATE TABLE {name} AS {_sql(frame)} ORDER BY {keys}")
        step = ceil(rows / files)
        for number in range(files):
            path = self._directory / "part.parquet"
            part = f"rowid >= {number * step} AND rowid < {(number + 1) * step}"
            ordered = f"FROM {name} WHERE {part} ORDER BY {keys}"
            options = "FORMAT parquet, COMPRESSION snappy"
            self.connection.execute(f"COPY ({ordered}) TO '{path}' ({options})")
            storage.upload(path, join(uri, f"part-{number:05d}.snappy.parquet"))
        self.connection.execute(f"DROP TABLE {name}")

    def write_lines(self, frame: DataFrame, rows: int, uri: str) -> None:  # noqa: ARG002
        """Write JSON lines in Python: their text may be anything."""
        path = self._directory / "part.json.gz"
        names = list(frame.columns)  # once: SQLFrame copies the whole query to tell them
        ordered = frame.orderBy(*names[:2])
        for number, part in enumerate(self._rows(ordered, LINES_PER_FILE)):
            with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as out:
                for row in part:
                    record = dict(zip(names, row, strict=True))
                    out.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            storage.upload(path, join(uri, f"part-{number:05d}.json.gz"))

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Do nothing: the reader of blocks says it in our own words."""
        yield

    def _rows(self, frame: DataFrame, size: int = _FETCH) -> Iterator[list[tuple[Any, ...]]]:
        """Fetch rows some at a time, on a cursor of their own: others may work meanwhile."""
        cursor = self.connection.cursor()
        cursor.execute(_sql(frame))
        while rows := cursor.fetchmany(size):
            yield rows

    def _create_empty(self, schema: Schema) -> str:
        name = self._name()
        columns = ", ".join(f'"{column}" {_SQL[kind]}' for column, kind in schema.items())
        self.connection.execute(f"CREATE TABLE {name} ({columns})")
        return name

    def _append(self, name: str, rows: Sequence[tuple[Any, ...]], schema: Schema) -> None:
        types = _arrow_schema(schema)
        columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
        arrays = [pa.array(x, t) for x, t in zip(columns, types.types, strict=True)]
        self.connection.register("appended", pa.table(arrays, schema=types))
        self.connection.execute(f"INSERT INTO {name} FROM appended")
        self.connection.unregister("appended")

    def _name(self) -> str:
        return f"kept_{next(self._numbers)}"

    def _table(self, name: str) -> DataFrame:
        found = self.connection.table(name)  # SQLFrame would ask three queries for it
        types = dict(zip(found.columns, map(str, found.types), strict=True))
        self.session.catalog.add_table(name, column_mapping=types)
        frame = cast("DataFrame", self.session.table(name))
        self._kept[id(frame)] = (frame, name)
        return frame


def compile_reading(reading: Reading) -> Compiled:
    """Compile a format's rules for ``executor_reading.read``."""
    with tempfile.TemporaryDirectory(prefix="recsys-duckdb-") as directory:
        made = DuckDbEngine(Path(directory), 64 << 20)
        try:
            with at_work(made):
                return made.compile(reading)
        finally:
            made.session.stop()


@contextmanager
def engine() -> Iterator[DuckDbEngine]:
    """Give an engine whose files disappear with it."""
    memory = int(min(memory_bytes() * _MEMORY_SHARE, free_memory_bytes() * _FREE_SHARE))
    with tempfile.TemporaryDirectory(prefix="recsys-duckdb-") as directory:
        made = DuckDbEngine(Path(directory), memory)
        logger.info("DuckDB %s with %.1f GiB of memory", duckdb.__version__, memory / 2**30)
        try:
            yield made
        finally:
            made.session.stop()  # and closes the connection


def memory_bytes() -> int:
    """Return how much memory this process may have: the machine's, or its container's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(limit)
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            return min(machine, int(text))
    return machine


def free_memory_bytes() -> int:
    """Return how much of the machine's memory nobody uses; all of it where that is not told."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return memory_bytes()


def _found(reading: Reading) -> Schema:
    """Name the columns of what the careful reading finds."""
    place: Schema = {c.FILE: "string", BLOCK: "bigint", POSITION: "bigint", c.RAW: "string"}
    return place | dict.fromkeys((c.REASON, *map(key_column, reading.source.keys)), "string")


def _strict(text: Column, keys: Sequence[str]) -> Column:
    """Parse to a struct of texts; null where DuckDB finds anything wrong."""
    fields = json.dumps(dict.fromkeys(keys, "VARCHAR"))
    parsed = F.call_function("json_transform_strict", text, F.lit(fields))
    return F.call_function("try", parsed)


def _batch(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    """Set beside each line where it stands."""
    rows = len(block.lines)
    name = block.file.encode()
    ends = _over(np.array([0, len(name)], np.int32))
    file = pa.StringArray.from_buffers(1, ends.buffers()[1], pa.py_buffer(name))
    numbers = np.arange(block.first, block.first + rows, dtype=np.int64)
    columns = {
        c.RAW: block.lines,
        c.FILE: pa.DictionaryArray.from_arrays(_over(np.zeros(rows, np.int32)), file),
        BLOCK: _over(np.zeros(rows, np.int64)),
        POSITION: _over(numbers),
    }
    return pa.record_batch(list(columns.values()), schema=schema)


def _over(values: npt.NDArray[Any]) -> pa.Array:
    """Lay an array over numbers; ``pa.array`` would import pandas, 0.2 s, to ask whether it is one."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _arrow_schema(schema: Schema) -> pa.Schema:
    return pa.schema([(name, _ARROW[kind]) for name, kind in schema.items()])


def _sql(frame: DataFrame) -> str:
    """Compile; DuckDB optimises better than SQLFrame, which takes seconds for it."""
    return str(cast("Any", frame).sql(dialect="duckdb", optimize=False))

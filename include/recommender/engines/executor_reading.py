"""Read lines with DuckDB inside Spark's Python workers, by the rules that the driver has compiled.

The rules are DataFrame code. The driver compiles them to SQL once, and each task runs that SQL over
the lines that Spark hands it. A worker imports no more of this project than this module and
``careful``: neither SQLFrame nor PySpark's SQL.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from zipimport import zipimporter

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recommender import columns as c
from recommender.sources import careful

UNSETTLED = "unsettled"  # the reason of a line that the fast reading leaves to the careful one
_ROWS = 8_192  # of an answer
# What flows through holds nothing back: a batch, and what one of its vectors becomes.
_MEMORY = "256MB"

_spared: list[bool] = []


@dataclass(frozen=True)
class Compiled:
    """Hold the rules as SQL, and the names under which it looks for rows.

    Attributes:
        fast: over ``lines`` (raw, file, block, position): each line with its reason and values.
        settled: the same over ``found``: file, block, position, raw, reason and the text of each key.
        lines: name of the table of lines.
        found: name of the table of what the careful reading found.
        keys: the keys that are wanted.
        key_columns: under which names ``settled`` looks for them.
        ids: those of the keys that hold an id.
    """

    fast: str
    settled: str
    lines: str
    found: str
    keys: tuple[str, ...]
    key_columns: tuple[str, ...]
    ids: tuple[str, str]


def read(batches: Iterator[pa.RecordBatch], compiled: Compiled) -> Iterator[pa.RecordBatch]:
    """Tell good, bad and blank lines.

    Args:
        batches: raw (binary), file, block, position.
        compiled: the rules.

    Yields:
        file, block, position, reason (null: good), raw (null: good or blank), values.
    """
    first = next(batches, None)
    if first is not None:
        yield from _read(first, batches, compiled)
    spare_the_next_task()


def _read(
    first: pa.RecordBatch, others: Iterator[pa.RecordBatch], compiled: Compiled
) -> Iterator[pa.RecordBatch]:
    config = {"threads": 1, "memory_limit": _MEMORY, "autoinstall_known_extensions": "false"}
    with duckdb.connect(":memory:", config=cast("Any", config)) as connection:
        apart = connection.cursor()  # of its own: the stream below is still open while it is asked
        lines = _text(first)
        connection.register(
            compiled.lines,
            pa.RecordBatchReader.from_batches(lines.schema, _chain(lines, others)),
        )
        for batch in _answer(connection, compiled.fast):
            unsettled = pc.fill_null(pc.equal(batch.column(c.REASON), UNSETTLED), False)
            if not pc.any(unsettled).as_py():
                yield batch
                continue
            yield batch.filter(pc.invert(unsettled))
            yield from _settle(batch.filter(unsettled), apart, compiled)


def spare_the_next_task() -> None:
    """Make little of what Spark does in a worker between two tasks, which took it a tenth of a second.

    It invalidates the caches of imports, for which Python 3.11 reads the whole directory of a zip
    again for each package that was found in it: of a dozen of PySpark's, and of our own. Forgotten, a
    finder is made anew when it is needed, from a directory that is known. And it collects garbage,
    walking through everything that was ever imported.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter):
            del sys.path_importer_cache[path]
    if not _spared:
        _spared.append(True)
        gc.freeze()


def _chain(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    for batch in others:
        yield _text(batch)


def _text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Make text of the lines' bytes; what is no UTF-8 becomes U+FFFD, as ``careful.read`` does it."""
    raw = batch.column(c.RAW)
    try:
        lines = raw.cast(pa.string())
    except pa.ArrowInvalid:
        lines = pa.array([x.decode("utf-8", "replace") for x in raw.to_pylist()], pa.string())
    return batch.set_column(batch.schema.get_field_index(c.RAW), c.RAW, lines)


def _settle(
    unsettled: pa.RecordBatch, connection: duckdb.DuckDBPyConnection, compiled: Compiled
) -> Iterator[pa.RecordBatch]:
    """Read lines with care, and hold what was found against the rules."""
    found = [
        careful.read(x, compiled.keys, compiled.ids) for x in unsettled.column(c.RAW).to_pylist()
    ]
    columns = {name: unsettled.column(name) for name in (c.FILE, "block", "position")}
    columns[c.RAW] = pa.array([line for line, _, _ in found], pa.string())
    columns[c.REASON] = pa.array([reason for _, reason, _ in found], pa.string())
    for at, name in enumerate(compiled.key_columns):
        columns[name] = pa.array([values[at] for _, _, values in found], pa.string())
    connection.register(compiled.found, pa.table(columns))
    yield from _answer(connection, compiled.settled)


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    return cast("pa.RecordBatchReader", connection.sql(sql).to_arrow_reader(_ROWS))

"""Run one set of DataFrame transformations on Spark or, where the data fits one machine, on DuckDB.

Transformations take ``F`` from here and write PySpark: on Spark it is pyspark's own module, on
DuckDB SQLFrame's of the same names. Every rule is written once, as such code. What differs
between the engines is not a rule but a deed (reading, keeping, numbering, writing), and is a
method of ``Engine``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from recommender.schemas import Schema
from recommender.storage import FileInfo

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

    from recommender.sources.lines import Reading

__all__ = ["LINES_PER_FILE", "ROWS_PER_FILE", "Engine", "F", "at_work", "current"]

# A row is 20 bytes before compression: about 60 MB a file, a good bite for one reader.
ROWS_PER_FILE = 5_000_000
LINES_PER_FILE = 200_000


class Engine(Protocol):
    """Do to frames what each engine does in its own way.

    Attributes:
        name: ``spark`` or ``duckdb``.
        functions: the module of column functions.
        side_by_side: whether several actions may run at once (from threads).
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - above

    @property
    def functions(self) -> Any: ...  # noqa: ANN401, D102 - a module of pyspark's or SQLFrame's

    @property
    def side_by_side(self) -> bool: ...  # noqa: D102 - above

    def frame(self, rows: Sequence[tuple[Any, ...]], schema: Schema) -> DataFrame:
        """Make a small frame of rows at hand."""

    def read(self, files: Sequence[FileInfo]) -> DataFrame:
        """Give the raw lines: raw, file (URL-encoded name), block, position."""

    def sort_lines(self, lines: DataFrame, reading: Reading) -> tuple[DataFrame, DataFrame | None]:
        """Tell good, bad and blank lines; see ``lines.Parsed`` for both frames, which are kept."""

    def keep(self, frame: DataFrame) -> DataFrame:
        """Compute a frame once for all who use it."""

    def release(self, frame: DataFrame) -> None:
        """Free what ``keep`` holds. What was settled (or read) stays on Spark's disks until the end.

        Kept frames that were made of it may have to be computed again, when a node is lost.
        """

    def discard(self, frame: DataFrame) -> None:
        """Delete what was settled, and of which nothing is made any more but what was settled itself."""

    def settle(self, frame: DataFrame) -> tuple[DataFrame, int]:
        """Compute a frame now, forget how, and count it: a loop's plan does not grow."""

    def small(self, frame: DataFrame, rows: int) -> DataFrame:
        """Say of a frame of integers to be joined how many rows it has at most.

        A few are brought to wherever the other side's rows are.
        """

    def key(self, text: Column, salt: int) -> Column:
        """Hash a text to an int64; equal in all rows, different for nearly all texts."""

    def number(self, ids: DataFrame, id_column: str, index: str) -> tuple[DataFrame, int]:
        """Number distinct ids from 0 in binary (UTF-8) order.

        Args:
            ids: the id and other columns.
            id_column: name of the id.
            index: name of the number.

        Returns:
            the number beside all columns, kept, and how many rows there are.
        """

    def write_table(self, frame: DataFrame, rows: int, uri: str) -> None:
        """Write Parquet files of a bounded size, ordered by the first two columns, a key."""

    def write_lines(self, frame: DataFrame, rows: int, uri: str) -> None:
        """Write JSON lines as ``part-*.json.gz`` beside what is there, ordered by the first two."""

    def read_errors(self) -> AbstractContextManager[None]:
        """Turn the engine's word for a gzip that cannot be read into ``TornFileError``."""


_at_work: list[Engine] = []


@contextmanager
def at_work(engine: Engine) -> Iterator[Engine]:
    """Make an engine the one that ``F`` speaks for, until the end or another one within."""
    _at_work.append(engine)
    try:
        yield engine
    finally:
        _at_work.remove(engine)


def current() -> Engine:
    """Return the engine at work.

    Raises:
        RuntimeError: none is: a transformation was called outside of ``at_work``.
    """
    if not _at_work:
        message = "expected an engine at work (recommender.engines.at_work), found none"
        raise RuntimeError(message)
    return _at_work[-1]


class _Functions:
    """Look every function up in the module of the engine at work."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - pyspark's types, see below
        return getattr(current().functions, name)


if not TYPE_CHECKING:
    F = _Functions()

"""Read ranges of a sharded Parquet table that is sorted by an index, wherever the reader runs.

Preprocessing and the distributed fit sort by user, so the files' own statistics say where a range of
users lies: the driver reads footers, an executor the row groups that it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender import storage
from recommender.errors import BadDataError
from recommender.storage import FileInfo

_PIECE_BYTES = 1 << 20  # of a request to S3: a column of a row group is read in some of them


@dataclass(frozen=True)
class Group:
    """Say which keys a row group holds, and how many rows."""

    number: int
    first: int
    last: int
    rows: int


@dataclass(frozen=True)
class Table:
    """Know where the rows of a table are.

    Attributes:
        key: the column by which it is sorted.
        parts: its files, each with its row groups.
    """

    key: str
    parts: tuple[tuple[FileInfo, tuple[Group, ...]], ...]

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return sum(group.rows for _, groups in self.parts for group in groups)

    def greatest(self, name: str) -> int:
        """Return the greatest value of a column of whole numbers; there must be a row."""
        found = []
        for file, groups in self.parts:
            with storage.open_read(file, piece=_PIECE_BYTES) as stream:
                parquet = pq.ParquetFile(stream)
                column = parquet.schema_arrow.get_field_index(name)
                for group in groups:
                    known = parquet.metadata.row_group(group.number).column(column).statistics
                    if known is not None and known.has_min_max:
                        found.append(int(known.max))
                    else:
                        values = parquet.read_row_group(group.number, columns=[name])
                        found.append(int(pc.max(values.column(name)).as_py()))
        return max(found)


def open_table(uri: str, key: str) -> Table:
    """Read the footers of a directory's Parquet files.

    Raises:
        BadDataError: a file does not say which keys it holds.
    """
    files = [file for file in storage.list_files(uri) if file.uri.endswith(".parquet")]
    return Table(key, tuple((file, _groups(file, key)) for file in files))


def _groups(file: FileInfo, key: str) -> tuple[Group, ...]:
    with storage.open_read(file, piece=storage.FOOTER_BYTES) as stream:
        footer = pq.read_metadata(stream)
    found, column = [], footer.schema.names.index(key)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        known = group.column(column).statistics
        if group.num_rows and (known is None or not known.has_min_max):
            message = f"{file.uri}: expected statistics of {key} in the footer, found none; preprocess again"
            raise BadDataError(message)
        if group.num_rows:
            found.append(Group(number, int(known.min), int(known.max), group.num_rows))
    return tuple(found)


def read(table: Table, first: int, last: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the rows with ``first <= key < last`` as arrays; lists come as (rows, length)."""
    pieces = []
    for file, groups in table.parts:
        wanted = [g.number for g in groups if g.first < last and g.last >= first]
        if not wanted:
            continue
        with storage.open_read(file, piece=_PIECE_BYTES) as stream:
            parquet = pq.ParquetFile(stream)
            columns = list(dict.fromkeys([table.key, *names]))
            found = parquet.read_row_groups(wanted, columns=columns, use_threads=False)
        key = found.column(table.key)
        pieces.append(
            found.filter(pc.and_(pc.greater_equal(key, first), pc.less(key, last))).select(
                list(names)
            )
        )
    if not pieces:
        return {name: np.empty(0) for name in names}
    whole = pa.concat_tables(pieces)
    return {name: _array(whole.column(name)) for name in names}


def read_all(table: Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the whole table: one of items, in an executor."""
    return read(table, 0, 1 << 62, names)


def _array(column: pa.ChunkedArray) -> np.ndarray:
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # what pyarrow returns of no chunk
        combined = pa.concat_arrays(combined.chunks)
    if pa.types.is_list(combined.type):
        flat = combined.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(len(combined), -1) if len(combined) else flat[:, None])
    return np.asarray(combined.to_numpy(zero_copy_only=False))

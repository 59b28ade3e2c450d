"""Hold interactions in memory as a sparse matrix with times, and read them from Parquet.

Everything is aligned with a CSR layout (rows are users), because that is what implicit, the
ranking and the metrics all want: no data frame is ever built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recommender.columns import CONFIDENCE, ITEM, TIMESTAMP, USER
from recommender.errors import BadDataError

SECONDS_PER_DAY = 86_400
_BATCH_ROWS = 1 << 17  # some 15 MB with what sorts them; larger ones read no faster
_BUFFER_BYTES = 1 << 20  # of a column while it is read; by default a whole row group's
COLUMNS = (USER, ITEM, CONFIDENCE, TIMESTAMP)
_TYPES = {USER: np.int32, ITEM: np.int32, CONFIDENCE: np.float32, TIMESTAMP: np.int64}
_INT32 = np.iinfo(np.int32)
Index = npt.NDArray[Any]
"""int32, or int64 where that is too small."""


@dataclass(frozen=True)
class Interactions:
    """Hold one row per (user, item) pair, sorted by user, then item.

    Attributes:
        shape: (users, items) of the whole index, cold ones included.
        indptr: (users + 1,) int32, or int64 from 2**31 rows on; the rows of user u are
            ``indptr[u]:indptr[u + 1]``.
        items: (rows,) of the same type: what scipy and implicit take without a copy.
        confidence: (rows,) float32, > 0.
        timestamp: (rows,) seconds since the epoch; int32 where all fit, else int64.
    """

    shape: tuple[int, int]
    indptr: Index
    items: Index
    confidence: npt.NDArray[np.float32]
    timestamp: Index

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def newest(self) -> int:
        """Return the time of the newest row, seconds since the epoch; there must be a row."""
        return int(self.timestamp.max())

    @property
    def users(self) -> npt.NDArray[np.int32]:
        """Return the user of every row, (rows,) int32; built anew on each call."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(self.indptr))

    def matrix(self, values: npt.NDArray[np.float32] | None = None) -> csr_matrix:
        """Return (users, items) CSR float32 of ``values``, by default of the confidence."""
        data = self.confidence if values is None else values
        return csr_matrix((data, self.items, self.indptr), shape=self.shape)

    def age_days(self, rows: slice = slice(None)) -> npt.NDArray[np.float64]:
        """Return how long before the newest row these rows happened, in days, >= 0."""
        ages = (self.newest - self.timestamp[rows]) / SECONDS_PER_DAY
        return np.asarray(ages, dtype=np.float64)

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Cut into blocks of users, each with its rows: some hundred thousand rows, one user at least."""
        return user_blocks(self.indptr)


def from_columns(
    users: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    confidence: npt.NDArray[np.float32],
    timestamp: npt.NDArray[np.int64],
    shape: tuple[int, int],
) -> Interactions:
    """Sort rows in any order into interactions; equal pairs become one row.

    A merged pair has the latest time and the strongest confidence: the rule that preprocessing
    applies within a window, applied here across windows.

    Raises:
        BadDataError: an index lies outside ``shape``.
    """
    _check_range(users, shape[0], USER)
    _check_range(items, shape[1], ITEM)
    keys = users.astype(np.int64) * shape[1] + items
    if np.any(keys[1:] <= keys[:-1]):  # preprocessing sorts, so one window skips this
        order = np.argsort(keys, kind="stable")
        keys, confidence, timestamp = keys[order], confidence[order], timestamp[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        keys = keys[starts]
        confidence = np.maximum.reduceat(confidence, starts)
        timestamp = np.maximum.reduceat(timestamp, starts)
    counts = np.bincount(keys // shape[1], minlength=shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Interactions(shape, indptr, (keys % shape[1]).astype(np.int32), confidence, timestamp)


def merge(first: Interactions, second: Interactions) -> Interactions:
    """Unite two windows over the same index: latest time, strongest confidence per pair."""
    return from_columns(
        np.concatenate([first.users, second.users]),
        np.concatenate([first.items, second.items]),
        np.concatenate([first.confidence, second.confidence]),
        np.concatenate([first.timestamp, second.timestamp]),
        first.shape,
    )


def index_type(rows: int) -> type[np.int32 | np.int64]:
    """Return the smaller integer type that counts so many rows."""
    return np.int32 if rows <= _INT32.max else np.int64


def user_blocks(indptr: Index) -> Iterator[tuple[slice, slice]]:
    """Cut a CSR layout into (users, their rows) of some hundred thousand rows, one user at least."""
    users, first = len(indptr) - 1, 0
    rows = indptr[-1]
    while first < users:
        # Within the type of the index: int32 may be full to the last row.
        end = indptr[first] + min(_BATCH_ROWS, int(rows - indptr[first]))
        full = int(np.searchsorted(indptr, end, side="right")) - 1
        last = min(users, max(first + 1, full))
        yield slice(first, last), slice(int(indptr[first]), int(indptr[last]))
        first = last


def read(directories: Sequence[Path], shape: tuple[int, int]) -> Interactions:
    """Read Parquet directories batch by batch straight into the sparse layout.

    Two passes: the first counts every user's rows, the second puts each row into its place (a
    counting sort). Beside the result, 16 bytes a row in the usual case, memory holds one batch. Equal
    pairs become one row, as in ``from_columns``.

    Raises:
        BadDataError: an index lies outside ``shape``.
    """
    files = [
        pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        for directory in directories
        for path in sorted(directory.rglob("*.parquet"))
    ]
    rows = sum(file.metadata.num_rows for file in files)
    index = index_type(rows)
    indptr = np.zeros(shape[0] + 1, dtype=index)
    for (users,) in _batches(files, (USER,)):
        _check_range(users, shape[0], USER)
        found, counts = np.unique(users, return_counts=True)
        indptr[found + 1] += counts.astype(index)
    np.cumsum(indptr, out=indptr)
    items, confidence = np.empty(rows, dtype=index), np.empty(rows, dtype=np.float32)
    timestamp = np.empty(rows, dtype=_timestamp_type(files))
    place = indptr[:-1].copy()
    for users, *values in _batches(files, COLUMNS):
        _check_range(values[0], shape[1], ITEM)
        order = np.argsort(users, kind="stable")  # a glance at what is sorted already
        found, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
        within = np.arange(len(users)) - np.repeat(starts, counts)
        target = np.repeat(place[found], counts) + within
        for column, value in zip((items, confidence, timestamp), values, strict=True):
            column[target] = value[order]
        place[found] += counts.astype(index)
    for file in files:
        file.close()
    del place
    pa.default_memory_pool().release_unused()
    return _one_row_a_pair(shape, indptr, items, confidence, timestamp)


def _batches(
    files: Sequence[pq.ParquetFile], names: Sequence[str]
) -> Iterator[list[npt.NDArray[Any]]]:
    for file in files:
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(names)):
            yield [batch.column(name).to_numpy() for name in names]


def _timestamp_type(files: Sequence[pq.ParquetFile]) -> type[np.int32 | np.int64]:
    """Return the smaller type that holds every time, as the files' own statistics say."""
    for file in files:
        column = file.schema_arrow.get_field_index(TIMESTAMP)
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group).column(column).statistics
            if known is None or not known.has_min_max:
                return np.int64
            if not _INT32.min <= known.min <= known.max <= _INT32.max:
                return np.int64
    return np.int32


def _one_row_a_pair(
    shape: tuple[int, int],
    indptr: Index,
    items: Index,
    confidence: npt.NDArray[np.float32],
    timestamp: Index,
) -> Interactions:
    """Sort every user's rows by item and merge equal pairs, in place, block by block of users."""
    counts, kept = np.diff(indptr), 0
    for users, rows in user_blocks(indptr):
        of = np.repeat(np.arange(users.stop - users.start), counts[users])
        own = [column[rows] for column in (items, confidence, timestamp)]
        moved = kept != rows.start
        keys = of * np.int64(shape[1]) + own[0]
        if np.any(keys[1:] <= keys[:-1]):
            moved = True
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            starts = np.flatnonzero(np.diff(keys, prepend=-1))
            # The strongest confidence and the latest time of each pair.
            strongest, latest = (np.maximum.reduceat(c[order], starts) for c in own[1:])
            own = [own[0][order][starts], strongest, latest]
            counts[users] = np.bincount(of[order][starts], minlength=users.stop - users.start)
        size = len(own[0])
        if moved:
            for column, values in zip((items, confidence, timestamp), own, strict=True):
                column[kept : kept + size] = values
        kept += size
    np.cumsum(counts, out=indptr[1:])
    for column in (items, confidence, timestamp):
        column.resize(kept, refcheck=False)  # gives the tail back without a copy
    return Interactions(shape, indptr, items, confidence, timestamp)


def read_pairs(directories: Iterable[Path], shape: tuple[int, int]) -> csr_matrix:
    """Read only who has what: (users, items) CSR of float32 ones, each pair once."""
    columns = read_columns(directories, (USER, ITEM))
    _check_range(columns[USER], shape[0], USER)
    _check_range(columns[ITEM], shape[1], ITEM)
    ones = np.ones(len(columns[USER]), dtype=np.float32)
    pairs = csr_matrix((ones, (columns[USER], columns[ITEM])), shape=shape)
    pairs.sum_duplicates()
    pairs.data[:] = 1
    return pairs


def read_columns(directories: Iterable[Path], names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read columns of Parquet directories into arrays sized from the files' footers."""
    files = [pq.ParquetFile(p) for d in directories for p in sorted(d.rglob("*.parquet"))]
    rows = sum(file.metadata.num_rows for file in files)
    arrays = {name: np.empty(rows, dtype=_TYPES[name]) for name in names}
    start = 0
    for file in files:
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(names)):
            for name in names:
                arrays[name][start : start + len(batch)] = batch.column(name).to_numpy()
            start += len(batch)
        file.close()
    return arrays


def _check_range(index: npt.NDArray[np.int32], size: int, name: str) -> None:
    if len(index) and not (index.min() >= 0 and index.max() < size):
        message = (
            f"expected {name} indices from 0 to {size - 1}, found {index.min()} to {index.max()}: "
            "the interactions and the id tables are not of one dataset; preprocess again"
        )
        raise BadDataError(message)

"""Hold interactions in memory as a sparse matrix with times, and read them from Parquet.

Everything is aligned with a CSR layout (rows are users), because that is what implicit, the
ranking and the metrics all want: no data frame is ever built.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recommender.columns import CONFIDENCE, ITEM, TIMESTAMP, USER
from recommender.errors import BadDataError

SECONDS_PER_DAY = 86_400
_BATCH_ROWS = 1 << 20
COLUMNS = (USER, ITEM, CONFIDENCE, TIMESTAMP)
_TYPES = {USER: np.int32, ITEM: np.int32, CONFIDENCE: np.float32, TIMESTAMP: np.int64}


@dataclass(frozen=True)
class Interactions:
    """Hold one row per (user, item) pair, sorted by user, then item.

    Attributes:
        shape: (users, items) of the whole index, cold ones included.
        indptr: (users + 1,) int64; the rows of user u are ``indptr[u]:indptr[u + 1]``.
        items: (rows,) int32.
        confidence: (rows,) float32, > 0.
        timestamp: (rows,) int64, seconds since the epoch.
    """

    shape: tuple[int, int]
    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    timestamp: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)

    @property
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

    def age_days(self) -> npt.NDArray[np.float64]:
        """Return how long before the newest row each row happened, in days, >= 0."""
        return np.asarray((self.newest - self.timestamp) / SECONDS_PER_DAY, dtype=np.float64)


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


def read(directory: Path, shape: tuple[int, int]) -> Interactions:
    """Read one window's Parquet directory with all four columns."""
    columns = read_columns([directory], COLUMNS)
    return from_columns(
        columns[USER], columns[ITEM], columns[CONFIDENCE], columns[TIMESTAMP], shape
    )


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

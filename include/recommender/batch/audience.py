"""Bring every user of a dataset into a version's model, on the user's full history, range by range.

Fitted were the training and validation rows; by the time the version is served there are the test
window's rows, too. A user who has taken nothing new keeps the factors that were measured; one who
has, or whom the version does not know, is folded in on all rows (see ``folding``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recommender import folding, interactions
from recommender.columns import CONFIDENCE, ITEM, TIMESTAMP, USER
from recommender.dataset import TEST, TRAIN, VALIDATION, Dataset
from recommender.distributed import tables
from recommender.history import History
from recommender.interactions import Interactions
from recommender.locations import join
from recommender.serving.arrays import Arrays
from recommender.weighting import weigh

_log = logging.getLogger(__name__)
SOURCES = ("personal", "folded_in", "popular")
PERSONAL, FOLDED_IN, POPULAR = range(3)
# What a range takes beside the items' factors: some 200 MB at 64 factors.
RANGE_USERS, RANGE_ROWS = 200_000, 4_000_000
_WINDOWS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Audience:
    """Hold some consecutive users to recommend to, in the item indices of a version.

    Attributes:
        first: index of the first of them in the dataset.
        factors: (users, d) float32; zeros for who gets the popular items.
        seen: (users, items) CSR of what not to recommend.
        sources: (users,) int8, places in ``SOURCES``.
    """

    first: int
    factors: npt.NDArray[np.float32]
    seen: csr_matrix
    sources: npt.NDArray[np.int8]


class Everyone:
    """Give the users of a dataset range by range: memory holds the id tables and one range.

    Attributes:
        ids: (users,) in the dataset's order.
        sources: (users,) int8, places in ``SOURCES``; filled in as the ranges are given.
    """

    def __init__(self, arrays: Arrays, dataset: Dataset) -> None:
        """Read the footers of the windows.

        Args:
            arrays: the version's, mapped.
            dataset: the one that the version was trained on, or a newer one: items that the version
                does not know are left out, and its users need not be the version's.
        """
        self.ids = dataset.users
        self.sources = np.full(len(self.ids), POPULAR, dtype=np.int8)
        self._arrays = arrays
        self._windows = [tables.open_table(join(dataset.uri, name), USER) for name in _WINDOWS]
        self._places = _positions(dataset.users, arrays.users.table)
        same = dataset.items.equals(arrays.items.table)
        self._items = None if same else _positions(dataset.items, arrays.items.table)
        self._shared = folding.gram(arrays.item_factors, arrays.objective)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Audience]:
        """Read the windows of one range after the other."""
        rows = 0
        for first, last in self._ranges():
            history = self._history(first, last)
            found = self._gather(first, history)
            self.sources[first:last] = found.sources
            rows += len(history)
            yield found
        counts = np.bincount(self.sources, minlength=len(SOURCES))
        parts = ", ".join(f"{n:,} {name}" for n, name in zip(counts, SOURCES, strict=True))
        _log.info(f"{len(self):,} users with {rows:,} rows of known items: {parts}")

    def _ranges(self) -> Iterator[tuple[int, int]]:
        rows = sum(table.rows for table in self._windows)
        width = max(1, min(RANGE_USERS, RANGE_ROWS * len(self) // max(1, rows)))
        return ((at, min(len(self), at + width)) for at in range(0, len(self), width))

    def _history(self, first: int, last: int) -> Interactions:
        """Read all rows of some users as one window, in the item indices of the version."""
        names = (USER, ITEM, CONFIDENCE, TIMESTAMP)
        found = [tables.read(window, first, last, names) for window in self._windows]
        columns = {name: np.concatenate([part[name] for part in found]) for name in names}
        users, items = (columns[name].astype(np.int32) for name in (USER, ITEM))
        confidence = columns[CONFIDENCE].astype(np.float32)
        timestamp = columns[TIMESTAMP].astype(np.int64)
        if self._items is not None:
            items = self._items[items]
            known = items >= 0
            users, items = users[known], items[known]
            confidence, timestamp = confidence[known], timestamp[known]
        shape = last - first, len(self._arrays.items)
        return interactions.from_columns(users - first, items, confidence, timestamp, shape)

    def _gather(self, first: int, rows: Interactions) -> Audience:
        arrays, places = self._arrays, self._places[first : first + rows.shape[0]]
        changed, missing = _compare(rows, arrays.history, places)
        folded = (changed | (places < 0)) & (np.diff(rows.indptr) > 0)
        factors = np.zeros((rows.shape[0], arrays.item_factors.shape[1]), dtype=np.float32)
        known = ~folded & (places >= 0)
        factors[known] = arrays.user_factors[places[known]]
        factors[folded] = self._fold(rows, np.flatnonzero(folded))
        sources = np.full(rows.shape[0], POPULAR, dtype=np.int8)
        sources[known], sources[folded] = PERSONAL, FOLDED_IN
        return Audience(first, factors, _seen(rows, missing), sources)

    def _fold(self, rows: Interactions, users: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the factors of some users on all of their rows."""
        arrays, settings = self._arrays, self._arrays.objective
        weights = weigh(
            rows.confidence,
            np.diff(rows.indptr),
            (self._newest - rows.timestamp) / interactions.SECONDS_PER_DAY,
            typical_rows=self._typical,
            half_life_days=settings.half_life_days,
            user_balance=settings.user_balance,
        )
        own = rows.matrix(np.asarray(settings.alpha * weights, dtype=np.float32))[users]
        return folding.fold_in(
            own.indptr,
            own.indices,
            own.data,
            arrays.item_factors,
            self._shared,
            settings,
            threads=0,
        )

    @cached_property
    def _newest(self) -> int:
        """Return the time of the dataset's newest row: ages count back from it for everyone."""
        return max(table.greatest(TIMESTAMP) for table in self._windows if table.rows)

    @cached_property
    def _typical(self) -> float:
        """Return the median rows of a user in the fit; of this dataset where that was not kept."""
        if self._arrays.history is not None:
            return self._arrays.history.typical_rows
        counts = [np.diff(self._history(*bounds).indptr) for bounds in self._ranges()]
        own = np.concatenate(counts)
        return float(np.median(own[own > 0]))


def _compare(
    rows: Interactions, history: History | None, places: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Compare what users have with what the version was fitted on.

    Only the lists of equal length are compared item by item, and only those of other length are
    searched: no second matrix is built.

    Returns:
        (users,) whether a user has anything else; and the pairs, as user * items + item, that the
        version was fitted on although the user does not have them (in an older dataset, say).
    """
    users, items = rows.shape
    if history is None:
        return np.ones(users, dtype=np.bool_), np.zeros(0, dtype=np.int64)
    own = np.diff(rows.indptr)
    theirs_at = np.maximum(places, 0)
    fitted = np.where(places >= 0, history.indptr[theirs_at + 1] - history.indptr[theirs_at], 0)
    changed = own != fitted
    same = np.flatnonzero(~changed & (own > 0))
    mine, theirs = _taken(rows.indptr, same), _taken(history.indptr, places[same])
    other = rows.items[mine] != history.items[theirs]
    changed[np.repeat(same, own[same])[other]] = True
    differ = np.flatnonzero(changed & (fitted > 0))
    wanted = _keys(
        differ, fitted[differ], history.items[_taken(history.indptr, places[differ])], items
    )
    there = _keys(differ, own[differ], rows.items[_taken(rows.indptr, differ)], items)
    return changed, wanted[~np.isin(wanted, there, assume_unique=True)]


def _taken(indptr: npt.NDArray[np.int64], rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return where the entries of some rows of a CSR lie, row after row."""
    starts = indptr[rows].astype(np.int64)
    counts = indptr[rows + 1] - starts
    first = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(starts - first, counts), dtype=np.int64)


def _keys(
    users: npt.NDArray[np.intp],
    counts: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    size: int,
) -> npt.NDArray[np.int64]:
    return np.asarray(np.repeat(users, counts) * size + items, dtype=np.int64)


def _seen(rows: Interactions, missing: npt.NDArray[np.int64]) -> csr_matrix:
    """Return (users, items) CSR of what users have, and of further pairs if there are any."""
    seen = csr_matrix((np.ones(len(rows), np.int8), rows.items, rows.indptr), shape=rows.shape)
    if not len(missing):
        return seen
    pairs = missing // rows.shape[1], missing % rows.shape[1]
    return (seen + csr_matrix((np.ones(len(missing), np.int8), pairs), shape=rows.shape)).tocsr()


def _positions(wanted: pa.StringArray, among: pa.StringArray) -> npt.NDArray[np.int32]:
    """Return where each id lies in another id table, -1 where it does not."""
    if wanted.equals(among):
        return np.arange(len(wanted), dtype=np.int32)
    return np.asarray(pc.fill_null(pc.index_in(wanted, among), -1)).astype(np.int32)

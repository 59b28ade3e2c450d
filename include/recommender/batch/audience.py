"""Bring every user of a dataset into a version's model, on the user's full history.

Fitted were the training and validation rows; by the time the version is served there are the test
window's rows, too. A user who has taken nothing new keeps the factors that were measured; one who
has, or whom the version does not know, is folded in on all rows (see ``folding``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recommender import folding, interactions
from recommender.columns import CONFIDENCE, ITEM, TIMESTAMP, USER
from recommender.dataset import TEST, TRAIN, VALIDATION, Dataset
from recommender.history import History, typical_rows
from recommender.interactions import Interactions
from recommender.serving.arrays import Arrays
from recommender.weighting import weigh

_log = logging.getLogger(__name__)
SOURCES = ("personal", "folded_in", "popular")
PERSONAL, FOLDED_IN, POPULAR = range(3)


@dataclass(frozen=True)
class Audience:
    """Hold whom to recommend to, in the item indices of a version.

    Attributes:
        ids: (users,) in the dataset's order.
        factors: (users, d) float32; zeros for who gets the popular items.
        seen: (users, items) CSR of what not to recommend.
        sources: (users,) int8, places in ``SOURCES``.
    """

    ids: pa.StringArray
    factors: npt.NDArray[np.float32]
    seen: csr_matrix
    sources: npt.NDArray[np.int8]


def gather(arrays: Arrays, dataset: Dataset) -> Audience:
    """Read all windows of a dataset and return its users, each with factors and history.

    Args:
        arrays: the version's.
        dataset: the one that the version was trained on, or a newer one: items that the version
            does not know are left out, and its users need not be the version's.
    """
    rows = full_history(dataset, arrays)
    places = _positions(dataset.users, arrays.users.table)
    changed, missing = _compare(rows, arrays.history, places)
    has_rows = np.diff(rows.indptr) > 0
    folded = (changed | (places < 0)) & has_rows
    factors = np.zeros((rows.shape[0], arrays.item_factors.shape[1]), dtype=np.float32)
    known = ~folded & (places >= 0)
    factors[known] = arrays.user_factors[places[known]]
    factors[folded] = _fold(arrays, rows, np.flatnonzero(folded))
    sources = np.full(rows.shape[0], POPULAR, dtype=np.int8)
    sources[known], sources[folded] = PERSONAL, FOLDED_IN
    counts = np.bincount(sources, minlength=len(SOURCES))
    parts = ", ".join(f"{n:,} {name}" for n, name in zip(counts, SOURCES, strict=True))
    _log.info(f"{rows.shape[0]:,} users with {len(rows):,} rows: {parts}")
    return Audience(dataset.users, factors, _seen(rows, missing), sources)


def full_history(dataset: Dataset, arrays: Arrays) -> Interactions:
    """Read every window of a dataset as one, in the item indices of the version."""
    columns = dataset.columns(TRAIN, VALIDATION, TEST)
    users, items = columns[USER], columns[ITEM]
    confidence, timestamp = columns[CONFIDENCE], columns[TIMESTAMP]
    shape = len(dataset.users), len(arrays.items)
    if not dataset.items.equals(arrays.items.table):
        items = _positions(dataset.items, arrays.items.table)[items]
        known = items >= 0
        _log.info(f"{np.sum(~known):,} of {len(items):,} rows are of items new since the version")
        users, items = users[known], items[known]
        confidence, timestamp = confidence[known], timestamp[known]
    return interactions.from_columns(users, items, confidence, timestamp, shape)


def _fold(
    arrays: Arrays, rows: Interactions, users: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Return the factors of some users on all of their rows."""
    settings, history = arrays.objective, arrays.history
    weights = weigh(
        rows.confidence,
        np.diff(rows.indptr),
        rows.age_days() if len(rows) else None,
        typical_rows=history.typical_rows if history else typical_rows(rows),
        half_life_days=settings.half_life_days,
        user_balance=settings.user_balance,
    )
    own = rows.matrix(np.asarray(settings.alpha * weights, dtype=np.float32))[users]
    shared = folding.gram(arrays.item_factors, settings)
    return folding.fold_in(
        own.indptr, own.indices, own.data, arrays.item_factors, shared, settings, threads=0
    )


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
    fitted = np.where(places >= 0, np.diff(history.indptr)[np.maximum(places, 0)], 0)
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

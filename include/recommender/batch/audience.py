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
    full = _ones(rows.indptr, rows.items, rows.shape)
    places = _positions(dataset.users, arrays.users.table)
    fitted = _fitted(arrays.history, places, rows.shape)
    changed = np.ones(rows.shape[0], dtype=np.bool_)
    if fitted is not None:
        # Both hold ones only, so a row of the difference is empty where they are the same.
        difference = full - fitted
        difference.eliminate_zeros()
        changed = np.diff(difference.indptr) > 0
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
    seen = full if fitted is None else full.maximum(fitted).tocsr()
    return Audience(dataset.users, factors, seen, sources)


def full_history(dataset: Dataset, arrays: Arrays) -> Interactions:
    """Read every window of a dataset as one, in the item indices of the version."""
    windows = [dataset.window(name) for name in (TRAIN, VALIDATION, TEST)]
    users = np.concatenate([window.users for window in windows])
    items = np.concatenate([window.items for window in windows])
    confidence = np.concatenate([window.confidence for window in windows])
    timestamp = np.concatenate([window.timestamp for window in windows])
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
    return folding.fold_in(own.indptr, own.indices, own.data, arrays.item_factors, shared, settings)


def _fitted(
    history: History | None, places: npt.NDArray[np.int32], shape: tuple[int, int]
) -> csr_matrix | None:
    """Return what the version was fitted on, in the rows of the dataset's users."""
    if history is None:
        return None
    whole = _ones(history.indptr, history.items, (len(history.indptr) - 1, shape[1]))
    if np.array_equal(places, np.arange(whole.shape[0])):
        return whole
    fitted = whole[np.maximum(places, 0)]
    fitted.data[np.repeat(places < 0, np.diff(fitted.indptr))] = 0
    fitted.eliminate_zeros()
    return fitted


def _ones(
    indptr: npt.NDArray[np.int64], items: npt.NDArray[np.int32], shape: tuple[int, int]
) -> csr_matrix:
    return csr_matrix((np.ones(len(items), dtype=np.int8), items, indptr), shape=shape)


def _positions(wanted: pa.StringArray, among: pa.StringArray) -> npt.NDArray[np.int32]:
    """Return where each id lies in another id table, -1 where it does not."""
    if wanted.equals(among):
        return np.arange(len(wanted), dtype=np.int32)
    return np.asarray(pc.fill_null(pc.index_in(wanted, among), -1)).astype(np.int32)

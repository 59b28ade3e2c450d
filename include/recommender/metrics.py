"""Measure ranked lists: each metric per user, then the mean over one common population.

Population: users with at least one fit interaction and at least one held-out item that the
model knows (the item has a fit interaction) and, where seen items are left out of the lists,
that is new to the user. Relevance is binary: an item is held out or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.ranking import entries

PerUser = npt.NDArray[np.float64]
METRICS = ("recall", "ndcg", "map", "hit_rate")


@dataclass(frozen=True)
class Population:
    """Hold who is measured, on what, and what was left out.

    Attributes:
        users: (n,) int32, ascending.
        held_out: (n, items) CSR; row i holds the held-out items of ``users[i]``.
        sizes: (n,) int64, held-out items per user, >= 1.
        counts: how many users and pairs there are and why others are not, for the report.
    """

    users: npt.NDArray[np.int32]
    held_out: csr_matrix
    sizes: npt.NDArray[np.int64]
    counts: dict[str, int]


def population(fit: csr_matrix, held_out: csr_matrix, *, filter_seen: bool) -> Population:
    """Choose who is measured, from (users, items) CSR of the fit rows and the held-out rows.

    Without ``filter_seen`` lists may repeat what a user has, so a held-out item need not be new.
    """
    users, items = fit.shape
    rows, columns = entries(held_out, np.arange(users, dtype=np.int32))
    warm_user = np.diff(fit.indptr)[rows] > 0
    warm_item = np.bincount(fit.indices, minlength=items)[columns] > 0
    had = _contains(fit, rows, columns)
    kept = warm_user & warm_item & ~(had & filter_seen)
    counted, inverse = np.unique(rows[kept], return_inverse=True)
    shape = (len(counted), items)
    relevant = csr_matrix((np.ones(len(inverse), np.float32), (inverse, columns[kept])), shape)
    relevant.sort_indices()
    counts = {
        "users": len(counted),
        "held_out": int(kept.sum()),
        "test_users": len(np.unique(rows)),
        "test_pairs": len(rows),
        "pairs_of_cold_users": int((~warm_user).sum()),
        "pairs_of_cold_items": int((warm_user & ~warm_item).sum()),
        "pairs_already_had": int((warm_user & warm_item & had & filter_seen).sum()),
        "users_without_new_items": len(np.unique(rows[warm_user])) - len(counted),
        "catalogue": int((np.bincount(fit.indices, minlength=items) > 0).sum()),
    }
    return Population(
        counted.astype(np.int32), relevant, np.diff(relevant.indptr).astype(np.int64), counts
    )


def hits(recommended: npt.NDArray[np.int32], held_out: csr_matrix) -> npt.NDArray[np.bool_]:
    """Tell which places of (n, k) lists hold a held-out item; padding (-1) never does."""
    rows = np.repeat(np.arange(len(recommended)), recommended.shape[1])
    columns = recommended.ravel()
    found = _contains(held_out, rows, np.maximum(columns, 0)) & (columns >= 0)
    return found.reshape(recommended.shape)


def recall(hit: npt.NDArray[np.bool_], sizes: npt.NDArray[np.int64]) -> PerUser:
    """Return recall@k(u) = |topk(u) ∩ held_out(u)| / |held_out(u)|, (n,)."""
    return np.asarray(hit.sum(axis=1) / sizes, dtype=np.float64)


def hit_rate(hit: npt.NDArray[np.bool_]) -> PerUser:
    """Return 1 for a user with at least one hit among the k, else 0, (n,)."""
    return np.asarray(hit.any(axis=1), dtype=np.float64)


def ndcg(hit: npt.NDArray[np.bool_], sizes: npt.NDArray[np.int64]) -> PerUser:
    """Return nDCG@k(u) with binary gains, (n,).

    DCG = sum over hits of 1 / log2(rank + 1), rank from 1; the ideal has
    min(k, |held_out(u)|) hits in front (Järvelin and Kekäläinen 2002).
    """
    k = hit.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(sizes, k) - 1]
    return np.asarray((hit * discounts).sum(axis=1) / ideal, dtype=np.float64)


def average_precision(hit: npt.NDArray[np.bool_], sizes: npt.NDArray[np.int64]) -> PerUser:
    """Return AP@k(u) = sum over hits of precision at their rank / min(k, |held_out(u)|), (n,).

    trec_eval's ``map_cut_k`` divides by |held_out(u)| instead, which no list of k can bring to
    1 for a user with more than k held-out items.
    """
    k = hit.shape[1]
    precision = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    return np.asarray((hit * precision).sum(axis=1) / np.minimum(sizes, k), dtype=np.float64)


def coverage(recommended: npt.NDArray[np.int32], catalogue: int) -> float:
    """Return distinct recommended items / items with at least one fit interaction."""
    return len(np.unique(recommended[recommended >= 0])) / catalogue


def per_user(recommended: npt.NDArray[np.int32], of: Population) -> dict[str, PerUser]:
    """Return every metric of ``METRICS`` for each user of the population, (n,) each."""
    hit = hits(recommended, of.held_out)
    return {
        "recall": recall(hit, of.sizes),
        "ndcg": ndcg(hit, of.sizes),
        "map": average_precision(hit, of.sizes),
        "hit_rate": hit_rate(hit),
    }


def _contains(
    matrix: csr_matrix, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]
) -> npt.NDArray[np.bool_]:
    """Tell which (row, column) pairs are stored in a CSR whose indices are sorted."""
    width = matrix.shape[1]
    stored_rows, stored_columns = entries(matrix, np.arange(matrix.shape[0], dtype=np.int32))
    stored = stored_rows * width + stored_columns
    wanted = rows.astype(np.int64) * width + columns
    at = np.searchsorted(stored, wanted)
    found = at < len(stored)
    found[found] = stored[at[found]] == wanted[found]
    return np.asarray(found, dtype=np.bool_)

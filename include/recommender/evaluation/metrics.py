"""Measure ranked lists: each metric per user, then the mean over one common population.

Population: users with at least one fit interaction and at least one held-out item that the
model knows (the item has a fit interaction) and, where seen items are left out of the lists,
that is new to the user. Relevance is binary: an item is held out or it is not.

Every function takes ``hit``, (n, k) bool: whether the item at that place of user u's list is
held out for u. Places beyond the end of a short list are no hits, so a list that is too short
loses what it could have shown. The metrics of lists as such are in ``beyond_accuracy``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.interactions import user_blocks
from recommender.ranking import blocks, entries

PerUser = npt.NDArray[np.float64]
Hits = npt.NDArray[np.bool_]
Lists = npt.NDArray[np.int32]
METRICS = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")
_BYTES_A_PLACE = 64  # what finding one place of a list among the held-out items takes


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


def population(
    fit: csr_matrix,
    held_out: csr_matrix,
    *,
    filter_seen: bool,
    known: npt.NDArray[np.bool_] | None = None,
) -> Population:
    """Choose who is measured, from (users, items) CSR of the fit rows and the held-out rows.

    Without ``filter_seen`` lists may repeat what a user has, so a held-out item need not be new.
    ``known`` tells which items have a fit row, where ``fit`` holds some of the users only.
    """
    if known is None:
        known = np.bincount(fit.indices, minlength=fit.shape[1]) > 0
    users, items = fit.shape
    rows, columns = entries(held_out, np.arange(users, dtype=np.int32))
    warm_user = np.diff(fit.indptr)[rows] > 0
    warm_item = known[columns]
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
        "catalogue": int(known.sum()),
    }
    return Population(
        counted.astype(np.int32), relevant, np.diff(relevant.indptr).astype(np.int64), counts
    )


def hits(recommended: Lists, held_out: csr_matrix) -> Hits:
    """Tell which places of (n, k) lists hold a held-out item; padding (-1) never does.

    Users are taken in blocks, so the memory beside the result does not grow with their number.
    """
    found = np.empty(recommended.shape, dtype=np.bool_)
    k = recommended.shape[1]
    for block in blocks(len(recommended), _BYTES_A_PLACE * k):
        columns = recommended[block].ravel()
        rows = np.repeat(np.arange(len(recommended[block])), k)
        held = _contains(held_out[block], rows, np.maximum(columns, 0)) & (columns >= 0)
        found[block] = held.reshape(-1, k)
    return found


def recall(hit: Hits, sizes: npt.NDArray[np.int64]) -> PerUser:
    """Return recall@k(u) = |topk(u) ∩ held_out(u)| / |held_out(u)|, (n,).

    trec_eval's ``recall_k``. Some (RecVAE's authors, for one) divide by min(k, |held_out(u)|).
    """
    return np.asarray(hit.sum(axis=1) / sizes, dtype=np.float64)


def precision(hit: Hits) -> PerUser:
    """Return precision@k(u) = |topk(u) ∩ held_out(u)| / k, (n,); trec_eval's ``P_k``.

    implicit's ``precision`` is another number: hits of all users over the sum of
    min(k, |held_out(u)|).
    """
    return np.asarray(hit.sum(axis=1) / hit.shape[1], dtype=np.float64)


def hit_rate(hit: Hits) -> PerUser:
    """Return 1 for a user with at least one hit among the k, else 0, (n,); ``success_k``."""
    return np.asarray(hit.any(axis=1), dtype=np.float64)


def reciprocal_rank(hit: Hits) -> PerUser:
    """Return RR@k(u) = 1 / rank of the first hit, 0 without a hit, (n,) (Voorhees 1999)."""
    first = hit.argmax(axis=1) + 1
    return np.asarray(hit.any(axis=1) / first, dtype=np.float64)


def ndcg(hit: Hits, sizes: npt.NDArray[np.int64]) -> PerUser:
    """Return nDCG@k(u) with binary gains, (n,).

    DCG = sum over hits of 1 / log2(rank + 1), rank from 1; the ideal has
    min(k, |held_out(u)|) hits in front (Järvelin and Kekäläinen 2002).
    """
    k = hit.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(sizes, k) - 1]
    return np.asarray((hit * discounts).sum(axis=1) / ideal, dtype=np.float64)


def average_precision(hit: Hits, sizes: npt.NDArray[np.int64]) -> PerUser:
    """Return AP@k(u) = sum over hits of precision at their rank / min(k, |held_out(u)|), (n,).

    trec_eval's ``map_cut_k`` divides by |held_out(u)| instead, which no list of k can bring to
    1 for a user with more than k held-out items.
    """
    k = hit.shape[1]
    at_rank = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    return np.asarray((hit * at_rank).sum(axis=1) / np.minimum(sizes, k), dtype=np.float64)


def per_user(recommended: Lists, of: Population) -> dict[str, PerUser]:
    """Return every metric of ``METRICS`` for each user of the population, (n,) each."""
    return from_hits(hits(recommended, of.held_out), of.sizes)


def from_hits(hit: Hits, sizes: npt.NDArray[np.int64]) -> dict[str, PerUser]:
    """Return every metric of ``METRICS`` from hits that are known already, (n,) each."""
    return {
        "recall": recall(hit, sizes),
        "precision": precision(hit),
        "ndcg": ndcg(hit, sizes),
        "map": average_precision(hit, sizes),
        "mrr": reciprocal_rank(hit),
        "hit_rate": hit_rate(hit),
    }


def _contains(
    matrix: csr_matrix, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]
) -> npt.NDArray[np.bool_]:
    """Tell which (row, column) pairs are stored in a CSR whose indices are sorted.

    ``rows`` ascend. Taken in blocks of the matrix's rows: keys of all that it stores would be larger
    than the matrix.
    """
    width = np.int64(matrix.shape[1])
    found = np.zeros(len(rows), dtype=np.bool_)
    for users, stored_at in user_blocks(matrix.indptr):
        asked = slice(*np.searchsorted(rows, [users.start, users.stop]))
        own = np.repeat(
            np.arange(users.start, users.stop), np.diff(matrix.indptr[users.start : users.stop + 1])
        )
        stored = own * width + matrix.indices[stored_at]
        wanted = rows[asked] * width + columns[asked]
        at = np.searchsorted(stored, wanted)
        there = at < len(stored)
        there[there] = stored[at[there]] == wanted[there]
        found[asked] = there
    return found

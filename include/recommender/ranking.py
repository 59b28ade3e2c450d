"""Rank exactly: top-K by score, ties by item index, items a user already has left out.

No approximation and no order that depends on the sort's mood: the same scores always give the
same lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

Users = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

# A block of scores that still fits a core's cache share: 8 MB was the fastest of 2 to 32 MB.
_BLOCK_BYTES = 8 << 20
_LOWEST = np.finfo(np.float32).min


class Recommendations(NamedTuple):
    """Hold ranked lists, best first.

    Attributes:
        items: (users, k) int32, padded with -1 where a user has fewer candidates than k.
        scores: (users, k) float32, padded with -inf.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


def empty(users: int, k: int) -> Recommendations:
    """Return lists that hold nothing but padding."""
    return Recommendations(
        np.full((users, k), -1, dtype=np.int32), np.full((users, k), -np.inf, dtype=np.float32)
    )


def top_k(
    score: Callable[[Users], Scores],
    users: Users,
    k: int,
    items: int,
    seen: csr_matrix | None = None,
    threads: int = 1,
) -> Recommendations:
    """Rank all items for each user, in blocks of bounded memory.

    Args:
        score: maps (b,) user indices to (b, items) finite float32 scores; may return a view
            that is overwritten.
        users: (n,) int32 indices.
        k: length of the lists.
        items: size of the catalogue.
        seen: (all users, items) CSR; stored entries of a user's row are not recommended to it.
        threads: blocks ranked at the same time, 0 for one per core. Blocks are cut the same
            way for any number, so the result does not depend on it.
    """
    result = empty(len(users), k)

    def rank(block: slice) -> None:
        scores = score(users[block])
        if seen is not None:
            rows, columns = entries(seen, users[block])
            scores[rows, columns] = -np.inf
        _select(scores, result.items[block], result.scores[block])

    slices = list(blocks(len(users), 4 * items))
    if len(slices) == 1:  # a pool takes longer to start than one user to rank
        rank(slices[0])
        return result
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for _ in pool.map(rank, slices):
            pass  # drained, so that an exception in a block is raised here
    return result


def top_k_shared(
    scores: Scores, users: Users, k: int, seen: csr_matrix | None = None
) -> Recommendations:
    """Rank items whose (items,) scores are the same for all users; equals ``top_k``.

    Items are ranked once. A user's list is the head of that ranking without its seen items; the
    head grows until everyone has k.
    """
    result = empty(len(users), k)
    order = np.lexsort((-scores,)).astype(np.int32)  # stable: ties stay in order of index
    position = np.empty_like(order)
    position[order] = np.arange(len(order), dtype=np.int32)
    pending, head = np.arange(len(users)), min(len(scores), 2 * k)
    while len(pending):
        unfinished = [pending[:0]]
        for block in blocks(len(pending), 8 * head):
            rows = pending[block]
            free = _free_places(position, users[rows], head, seen)
            full = (free.sum(axis=1) >= k) | (head == len(scores))
            _write_heads(free[full], rows[full], order, scores, result)
            unfinished.append(rows[~full])
        pending, head = np.concatenate(unfinished), min(len(scores), 8 * head)
    return result


def _free_places(
    position: npt.NDArray[np.int32], users: Users, head: int, seen: csr_matrix | None
) -> npt.NDArray[np.bool_]:
    """Return (users, head): whether the item at that place of the ranking may be recommended."""
    free = np.ones((len(users), head), dtype=np.bool_)
    if seen is not None:
        rows, columns = entries(seen, users)
        places = position[columns]
        free[rows[places < head], places[places < head]] = False
    return free


def _write_heads(
    free: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.intp],
    order: npt.NDArray[np.int32],
    scores: Scores,
    result: Recommendations,
) -> None:
    """Write the first k free places of the ranking for each row."""
    users, places = np.nonzero(free)
    counts = free.sum(axis=1)
    rank = np.arange(len(users)) - (np.cumsum(counts) - counts)[users]
    kept = rank < result.items.shape[1]
    chosen = order[places[kept]]
    result.items[rows[users[kept]], rank[kept]] = chosen
    result.scores[rows[users[kept]], rank[kept]] = scores[chosen]


def entries(
    matrix: csr_matrix, users: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the stored entries of some rows as (position in ``users``, column)."""
    starts = matrix.indptr[users].astype(np.int64)
    counts = matrix.indptr[users + 1] - starts
    rows = np.repeat(np.arange(len(users)), counts)
    first = np.cumsum(counts) - counts
    return rows, matrix.indices[np.arange(len(rows)) - (first - starts)[rows]]


def blocks(rows: int, row_bytes: int) -> Iterator[slice]:
    """Cut rows into slices of at most 8 MB, one row at least."""
    size = max(1, _BLOCK_BYTES // max(1, row_bytes))
    return (slice(start, min(rows, start + size)) for start in range(0, rows, size))


def _select(
    scores: Scores, items_out: npt.NDArray[np.int32], scores_out: npt.NDArray[np.float32]
) -> None:
    """Write each row's best scores and their columns, best first; -inf is never taken.

    Only scores at or above a bound not larger than the k-th best are sorted. As all ties with
    the k-th best pass the bound, cutting after the sort treats them exactly.
    """
    k = items_out.shape[1]
    bound = np.maximum(_bound(scores, k), _LOWEST)
    # Of two dimensions nonzero takes ten times as long, and as long as all the rest.
    rows, columns = np.divmod(np.flatnonzero(scores >= bound[:, None]), scores.shape[1])
    values = scores[rows, columns]
    order = np.lexsort((-values, rows))  # stable: equal scores stay in order of column
    rows, columns, values = rows[order], columns[order], values[order]
    counts = np.bincount(rows, minlength=len(scores))
    place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    kept = place < k
    items_out[rows[kept], place[kept]] = columns[kept]
    scores_out[rows[kept], place[kept]] = values[kept]


def _bound(scores: Scores, k: int) -> npt.NDArray[np.float32]:
    """Return for each row a number that at least k of its scores reach, near the k-th best.

    Columns are dealt to groups; the k-th best of the groups' maxima is such a number, and a
    maximum over columns runs at memory speed where a partition of the row does not.
    """
    width = max(256, 16 * k)  # so many groups that two of the best k seldom share one
    deep = scores.shape[1] // width
    if deep >= 2:
        groups = scores[:, : deep * width].reshape(len(scores), deep, width).max(axis=1)
    else:
        groups = scores
    if groups.shape[1] <= k:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    cut = groups.shape[1] - k
    return np.partition(groups, cut, axis=1)[:, cut]

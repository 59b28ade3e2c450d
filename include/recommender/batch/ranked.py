"""Rank chunk by chunk, so that memory does not grow with the number of users or items."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.batch.audience import POPULAR, Audience
from recommender.ranking import Recommendations, Scores, Users, top_k
from recommender.serving.arrays import Arrays

_log = logging.getLogger(__name__)
CHUNK = 25_000
_LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Chunk:
    """Hold the lists of consecutive users or items.

    Attributes:
        rows: indices of whose lists they are.
        ranked: (rows, n) items and scores.
    """

    rows: npt.NDArray[np.int32]
    ranked: Recommendations


def for_users(
    arrays: Arrays, audience: Audience, n: int, denied: npt.NDArray[np.int32]
) -> Iterator[Chunk]:
    """Rank all items for every user; progress with rates goes to the log."""
    transposed = arrays.item_factors.T
    popular = most_popular(arrays, n, denied)

    def score(block: Users) -> Scores:
        scores: Scores = audience.factors[block] @ transposed
        scores[:, denied] = -np.inf
        return scores

    everyone = np.arange(len(audience.ids), dtype=np.int32)
    for rows in _chunks(everyone, "users"):
        ranked = top_k(score, rows, n, len(arrays.items), audience.seen, threads=0)
        cold = audience.sources[rows] == POPULAR
        ranked.items[cold], ranked.scores[cold] = popular
        yield Chunk(rows, ranked)


def for_items(arrays: Arrays, n: int, denied: npt.NDArray[np.int32]) -> Iterator[Chunk]:
    """Rank all other items for every item that is not denied, by the cosine of their factors."""
    items = len(arrays.items)
    lengths = np.linalg.norm(arrays.item_factors, axis=1)
    directions = arrays.item_factors / np.maximum(lengths, 1e-12)[:, None]
    transposed = directions.T

    def score(block: Users) -> Scores:
        scores: Scores = directions[block] @ transposed
        scores[:, denied] = -np.inf
        return scores

    itself = csr_matrix(
        (np.ones(items, dtype=np.int8), np.arange(items), np.arange(items + 1)),
        shape=(items, items),
    )
    allowed = np.setdiff1d(np.arange(items, dtype=np.int32), denied)
    for rows in _chunks(allowed, "items"):
        yield Chunk(rows, top_k(score, rows, n, items, itself, threads=0))


def most_popular(arrays: Arrays, n: int, denied: npt.NDArray[np.int32]) -> Recommendations:
    """Return the n items with most users, padded as ``top_k`` pads: (n,) items and scores."""
    order = np.lexsort((-arrays.counts,)).astype(np.int32)
    best = order[~np.isin(order, denied)][:n]
    items, scores = np.full(n, -1, np.int32), np.full(n, -np.inf, np.float32)
    items[: len(best)], scores[: len(best)] = best, arrays.counts[best]
    return Recommendations(items, scores)


def _chunks(rows: npt.NDArray[np.int32], what: str) -> Iterator[npt.NDArray[np.int32]]:
    """Cut into chunks and log how fast they are done, at most one line in ten seconds."""
    start = last = time.monotonic()
    for first in range(0, len(rows), CHUNK):
        yield rows[first : first + CHUNK]
        now, done = time.monotonic(), min(len(rows), first + CHUNK)
        if now - last >= _LOG_SECONDS or done == len(rows):
            last = now
            rate = done / max(now - start, 1e-9)
            _log.info(f"{done:,} of {len(rows):,} {what}, {rate:,.0f} a second")

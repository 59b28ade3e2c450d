"""Rank chunk by chunk, so that memory does not grow with the number of users or items."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.batch.audience import POPULAR, Everyone
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
    arrays: Arrays, everyone: Everyone, n: int, denied: npt.NDArray[np.int32]
) -> Iterator[Chunk]:
    """Rank all items for every user, range by range; progress with rates goes to the log."""
    popular = most_popular(arrays, n, denied)
    progress = _Progress(len(everyone), "users")
    for part in everyone:
        score = _scorer(part.factors, arrays.item_factors, denied)
        for rows in _chunks(np.arange(len(part.sources), dtype=np.int32)):
            ranked = top_k(score, rows, n, len(arrays.items), part.seen, threads=0)
            cold = part.sources[rows] == POPULAR
            ranked.items[cold], ranked.scores[cold] = popular
            yield Chunk(rows + part.first, ranked)
            progress.step(len(rows))


def for_items(arrays: Arrays, n: int, denied: npt.NDArray[np.int32]) -> Iterator[Chunk]:
    """Rank all other items for every item that is not denied, by the cosine of their factors."""
    items = len(arrays.items)
    lengths = np.linalg.norm(arrays.item_factors, axis=1)
    directions = arrays.item_factors / np.maximum(lengths, 1e-12)[:, None]
    score = _scorer(directions, directions, denied)
    itself = csr_matrix(
        (np.ones(items, dtype=np.int8), np.arange(items), np.arange(items + 1)),
        shape=(items, items),
    )
    allowed = np.setdiff1d(np.arange(items, dtype=np.int32), denied)
    progress = _Progress(len(allowed), "items")
    for rows in _chunks(allowed):
        yield Chunk(rows, top_k(score, rows, n, items, itself, threads=0))
        progress.step(len(rows))


def _scorer(
    factors: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    denied: npt.NDArray[np.int32],
) -> Callable[[Users], Scores]:
    """Score by inner product; what is denied can be in no list."""
    transposed = others.T

    def score(block: Users) -> Scores:
        scores: Scores = factors[block] @ transposed
        scores[:, denied] = -np.inf
        return scores

    return score


def most_popular(arrays: Arrays, n: int, denied: npt.NDArray[np.int32]) -> Recommendations:
    """Return the n items with most users, padded as ``top_k`` pads: (n,) items and scores."""
    order = np.lexsort((-arrays.counts,)).astype(np.int32)
    best = order[~np.isin(order, denied)][:n]
    items, scores = np.full(n, -1, np.int32), np.full(n, -np.inf, np.float32)
    items[: len(best)], scores[: len(best)] = best, arrays.counts[best]
    return Recommendations(items, scores)


def _chunks(rows: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int32]]:
    return (rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK))


class _Progress:
    """Log how fast lists are made, at most one line in ten seconds."""

    def __init__(self, wanted: int, what: str) -> None:
        self.wanted, self.what, self.done = wanted, what, 0
        self.start = self.last = time.monotonic()

    def step(self, made: int) -> None:
        """Count lists that are made."""
        now = time.monotonic()
        self.done += made
        if now - self.last >= _LOG_SECONDS or self.done == self.wanted:
            self.last = now
            rate = self.done / max(now - self.start, 1e-9)
            _log.info(f"{self.done:,} of {self.wanted:,} {self.what}, {rate:,.0f} a second")

"""Compute the objective of a fit cheaply enough to follow every iteration.

The sum over all pairs is, by Gram matrices, ``unobserved * <X'X, Y'Y>``: exact, and independent of
the number of pairs. The observed pairs' correction needs an inner product each; beyond a million
multiplications it is estimated from a fixed sample, so that following the loss costs no more on a
large data set than on a small one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.models.als.engine import Factors
from recommender.objective import Als

_SAMPLED = 1 << 20  # multiplications: 16,384 pairs at 64 factors


class Loss:
    """Know a fit's rows and objective.

    Args:
        weights: r of the objective times ``factor``, (users, items) CSR float32.
        als: the objective; its penalty has exponent 0 or a row's n is its stored entries.
        seed: of the sample, which is the same for every call.
        factor: what the weights have been multiplied with.
    """

    def __init__(self, weights: csr_matrix, als: Als, seed: int, factor: float = 1.0) -> None:
        self.als, self.pairs = als, weights.shape[0] * weights.shape[1]
        self.user_penalty = _Penalty(np.diff(weights.indptr), als)
        of_items = np.bincount(weights.indices, minlength=weights.shape[1])
        self.item_penalty = _Penalty(of_items, als)
        stored = weights.nnz
        wanted = min(stored, max(1, _SAMPLED // als.factors))
        if wanted < stored:
            chosen = np.random.default_rng(seed).choice(stored, wanted, replace=False)
            chosen.sort()
        else:
            chosen = np.arange(stored)
        self.users = np.searchsorted(weights.indptr, chosen, side="right") - 1
        self.items, self.r = weights.indices[chosen], weights.data[chosen] / np.float64(factor)
        self.scale = stored / max(1, wanted)

    def __call__(self, factors: Factors) -> float:
        """Return the objective per pair of user and item; exact where all observed pairs are taken."""
        users, items = factors
        score = np.einsum("nf,nf->n", users[self.users], items[self.items]).astype(np.float64)
        observed = self.als.alpha * self.r * (1 - score) ** 2 - self.als.unobserved * score**2
        grams = users.T @ users, items.T @ items
        everywhere = self.als.unobserved * np.vdot(*grams)
        penalty = self.user_penalty.of(users, grams[0]) + self.item_penalty.of(items, grams[1])
        total: float = self.scale * observed.sum() + everywhere + penalty
        return float(total / self.pairs)


class _Penalty:
    """Sum up the squares of factors, each row's weighted with a power of its number of entries."""

    def __init__(self, counts: npt.NDArray[np.integer], als: Als) -> None:
        self.regularization = als.regularization
        self.powers = (
            counts.astype(np.float64) ** als.frequency_exponent if als.frequency_exponent else None
        )

    def of(self, rows: npt.NDArray[np.float32], gram: npt.NDArray[np.float32]) -> float:
        """Return the penalty of factors; without powers the squares' sum lies on the diagonal."""
        if self.powers is None:
            return float(self.regularization * np.trace(gram, dtype=np.float64))
        return float(self.regularization * (self.powers @ np.einsum("nf,nf->n", rows, rows)))

"""Alternate exact half-steps of the stated objective: slow, plain, and of no library."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recommender import folding
from recommender.interactions import Interactions
from recommender.models.als import Factors
from recommender.models.als.weighted import weighted
from recommender.objective import Als


def fit(rows: Interactions, als: Als, start: Factors | None = None, seed: int = 3) -> Factors:
    """Return the factors after ``als.iterations`` exact iterations, users first."""
    weights = csr_matrix(weighted(rows, als)) * np.float32(als.alpha)
    by_item = weights.T.tocsr()
    generator = np.random.default_rng(seed)
    drawn = generator.normal(0, 0.1, (rows.shape[1], als.factors))
    items = np.asarray(start.items if start else drawn, dtype=np.float32)
    users = np.zeros((rows.shape[0], als.factors), dtype=np.float32)
    with threadpool_limits(1, user_api="blas"):
        for _ in range(als.iterations):
            users = _half_step(weights, items, als)
            items = _half_step(by_item, users, als)
    return Factors(users, items)


def _half_step(
    weights: csr_matrix, other: npt.NDArray[np.float32], als: Als
) -> npt.NDArray[np.float32]:
    found = folding.fold_in(
        weights.indptr, weights.indices, weights.data, other, folding.gram(other, als), als
    )
    return np.asarray(found, dtype=np.float32)


def without_times(pairs: csr_matrix) -> Interactions:
    """Take the values of a matrix for confidences, all of one moment."""
    pairs.sort_indices()
    return Interactions(
        pairs.shape,
        pairs.indptr.astype(np.int64),
        pairs.indices.astype(np.int32),
        pairs.data.astype(np.float32),
        np.zeros(pairs.nnz, dtype=np.int64),
    )

"""Fold users into a fitted ALS: their factors given the items', by the normal equations.

For a user with interactions i and weights c_i = alpha * r_i the objective of the fit (implicit's:
c_i on what the user has, 1 on everything else, a constant L2 penalty) is smallest at

    x = (Y'Y + sum_i (c_i - 1) y_i y_i' + regularization * I)^-1  sum_i c_i y_i

(Hu, Koren and Volinsky 2008, equation 4). The same rows that were fitted give the factors that one
more half-step of the fit would give.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recommender.ranking import blocks

Factors = npt.NDArray[np.float32]


def penalty(item_factors: Factors, regularization: float) -> npt.NDArray[np.float64]:
    """Return Y'Y + regularization * I, (d, d): the part that all users share."""
    gram = (item_factors.T @ item_factors).astype(np.float64)
    return np.asarray(gram + regularization * np.eye(len(gram)))


def fold_in(
    indptr: npt.NDArray[np.integer],
    items: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    item_factors: Factors,
    shared: npt.NDArray[np.float64],
) -> Factors:
    """Return the factors of users, (users, d) float32; a user without rows gets zeros.

    Args:
        indptr: (users + 1,) where each user's rows begin, as in CSR.
        items: (rows,) item indices.
        weights: (rows,) alpha * r.
        item_factors: (items, d) of the fitted model.
        shared: what ``penalty`` returned for them.
    """
    users, factors = len(indptr) - 1, len(shared)
    folded = np.zeros((users, factors), dtype=np.float32)
    for block in blocks(users, 8 * factors * factors):
        left, right = _equations(indptr, items, weights, item_factors, shared, block)
        folded[block] = np.linalg.solve(left, right[..., None])[..., 0]
    return folded


def _equations(
    indptr: npt.NDArray[np.integer],
    items: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    item_factors: Factors,
    shared: npt.NDArray[np.float64],
    block: slice,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return both sides of a block's equations, (users, d, d) and (users, d)."""
    users = range(block.start, block.stop)
    left = np.repeat(shared[None], len(users), axis=0)
    right = np.zeros((len(users), len(shared)))
    for place, user in enumerate(users):
        own = slice(indptr[user], indptr[user + 1])
        weight, taken = weights[own], item_factors[items[own]]
        left[place] += (taken * (weight - 1)[:, None]).T @ taken
        right[place] = weight @ taken
    return left, right

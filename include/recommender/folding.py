"""Fold users into a fitted ALS: their factors given the items', by the normal equations.

For a user with n interactions i and weights c_i = alpha * r_i the objective of the fit (see
``objective``; w is the weight of what is not observed) is smallest at

    x = (w Y'Y + sum_i (c_i - w) y_i y_i' + regularization * n^frequency_exponent * I)^-1  sum_i c_i y_i

(Hu, Koren and Volinsky 2008, equation 4, where w is 1 and the exponent 0). The same rows that were
fitted give the factors that one more half-step of the fit would give.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from recommender.ranking import blocks

Factors = npt.NDArray[np.float32]


class Objective(Protocol):
    """Have what of the objective a fold-in needs beside the weights of the rows."""

    @property
    def unobserved(self) -> float:
        """Return the weight of a pair without an interaction."""

    @property
    def regularization(self) -> float:
        """Return the L2 penalty, before its scale."""

    @property
    def frequency_exponent(self) -> float:
        """Return the exponent of a row's interactions in the penalty."""


def gram(item_factors: Factors, objective: Objective) -> npt.NDArray[np.float64]:
    """Return w Y'Y, (d, d): the part that all users share."""
    return objective.unobserved * (item_factors.T @ item_factors).astype(np.float64)


def fold_in(
    indptr: npt.NDArray[np.integer],
    items: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    item_factors: Factors,
    shared: npt.NDArray[np.float64],
    objective: Objective,
) -> Factors:
    """Return the factors of users, (users, d) float32; a user without rows gets zeros.

    Args:
        indptr: (users + 1,) where each user's rows begin, as in CSR.
        items: (rows,) item indices.
        weights: (rows,) alpha * r.
        item_factors: (items, d) of the fitted model.
        shared: what ``gram`` returned for them.
        objective: of the fit.
    """
    users, factors = len(indptr) - 1, len(shared)
    folded = np.zeros((users, factors), dtype=np.float32)
    for block in blocks(users, 8 * factors * factors):
        left, right = _equations(indptr, items, weights, item_factors, shared, objective, block)
        folded[block] = np.linalg.solve(left, right[..., None])[..., 0]
    return folded


def _equations(
    indptr: npt.NDArray[np.integer],
    items: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    item_factors: Factors,
    shared: npt.NDArray[np.float64],
    objective: Objective,
    block: slice,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return both sides of a block's equations, (users, d, d) and (users, d)."""
    users, identity = range(block.start, block.stop), np.eye(len(shared))
    left = np.repeat(shared[None], len(users), axis=0)
    right = np.zeros((len(users), len(shared)))
    for place, user in enumerate(users):
        own = slice(indptr[user], indptr[user + 1])
        weight, taken = weights[own], item_factors[items[own]]
        left[place] += (taken * (weight - objective.unobserved)[:, None]).T @ taken
        left[place] += (
            objective.regularization * len(weight) ** objective.frequency_exponent * identity
        )
        right[place] = weight @ taken
    return left, right

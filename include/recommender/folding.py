"""Fold users into a fitted ALS: their factors given the items', by the normal equations.

For a user with n interactions i and weights c_i = alpha * r_i the objective of the fit (see
``objective``; w is the weight of what is not observed) is smallest at

    x = (w Y'Y + sum_i (c_i - w) y_i y_i' + regularization * n^frequency_exponent * I)^-1  sum_i c_i y_i

(Hu, Koren and Volinsky 2008, equation 4, where w is 1 and the exponent 0). The same rows that were
fitted give the factors that one more half-step of the fit would give.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

Factors = npt.NDArray[np.float32]
_BLOCK_BYTES = 2 << 20  # what a core's cache holds; 8 MB took a third longer


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
    threads: int = 1,
) -> Factors:
    """Return the factors of users, (users, d) float32; a user without rows gets zeros.

    Args:
        indptr: (users + 1,) where each user's rows begin, as in CSR.
        items: (rows,) item indices.
        weights: (rows,) alpha * r.
        item_factors: (items, d) of the fitted model.
        shared: what ``gram`` returned for them.
        objective: of the fit.
        threads: blocks solved at the same time, 0 for one per core; BLAS should have one.
    """
    counts = np.diff(indptr)
    folded = np.zeros((len(counts), len(shared)), dtype=np.float32)
    diagonal = np.arange(len(shared))

    def solve(users: npt.NDArray[np.intp]) -> None:
        own = counts[users]
        left, right = _own_part(indptr[users], own, items, weights, item_factors, objective)
        penalty = objective.regularization * own.astype(float) ** objective.frequency_exponent
        both = left + shared  # in double precision from here on
        both[:, diagonal, diagonal] += penalty[:, None]
        folded[users] = np.linalg.solve(both, right[..., None])[..., 0]

    work = list(_blocks(counts, len(shared)))
    if len(work) == 1:  # a pool takes longer to start than one user to solve
        solve(work[0])
        return folded
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for _ in pool.map(solve, work):
            pass  # drained, so that an exception in a block is raised here
    return folded


def _blocks(counts: npt.NDArray[np.integer], factors: int) -> Iterator[npt.NDArray[np.intp]]:
    """Cut users into blocks of some megabytes; those of like length together: little padding."""
    order = np.argsort(counts, kind="stable")
    start, most = 0, max(1, _BLOCK_BYTES // (8 * factors * factors))
    while start < len(order):
        stop = min(len(order), start + most)
        # The last user has the most rows, and all are padded to that.
        while (
            stop - start > 1
            and (stop - start) * counts[order[stop - 1]] * factors * 8 > _BLOCK_BYTES
        ):
            stop = start + (stop - start) // 2
        yield order[start:stop]
        start = stop


def _own_part(
    starts: npt.NDArray[np.integer],
    counts: npt.NDArray[np.integer],
    items: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    item_factors: Factors,
    objective: Objective,
) -> tuple[Factors, Factors]:
    """Return what a block's rows add to both sides, (users, d, d) and (users, d).

    Users are padded to the longest with weights that add nothing, so that one call multiplies
    them all, with no interpreter between two users.
    """
    places = np.arange(counts.max(initial=0))
    there = places < counts[:, None]
    rows = np.where(there, starts[:, None] + places, 0)
    taken = item_factors.take(np.where(there, items[rows], 0), axis=0)
    weight = np.where(there, weights[rows], 0)
    excess = np.where(there, weight - np.float32(objective.unobserved), 0)
    left = np.matmul((taken * excess[..., None]).transpose(0, 2, 1), taken)
    return left, np.matmul(weight[:, None, :], taken)[:, 0]

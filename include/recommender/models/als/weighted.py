"""Weigh the rows of a fit, in the memory that the fit needs anyway.

A fit holds the rows by user and by item. ``implicit`` would hold copies beside them: of the rows by
user, to multiply them with alpha; of their indices, while scipy transposes them; and of the weights,
in every half-step, to make sure of their type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import _sparsetools, csc_matrix, csr_matrix

from recommender import history
from recommender.interactions import Interactions
from recommender.objective import Als
from recommender.weighting import weigh_all


def weighted(interactions: Interactions, als: Als, factor: float = 1.0) -> csr_matrix:
    """Return r of the objective times ``factor``, (users, items) CSR float32. See ``weigh``."""
    weights = weigh_all(
        interactions,
        factor=factor,
        typical_rows=history.typical_rows(interactions),
        half_life_days=als.half_life_days,
        user_balance=als.user_balance,
    )
    by_user = _ByUser((weights, interactions.items, interactions.indptr), shape=interactions.shape)
    by_user.data = weights.view(_Weights)
    return by_user


class _Weights(np.ndarray):
    """Be of the type that is asked for without a copy, where they are."""

    def astype(self, dtype: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - numpy's
        """Return these weights themselves if they are of the type."""
        return self if dtype == self.dtype else super().astype(dtype, *args, **options)


class _ByUser(csr_matrix):  # type: ignore[misc]  # scipy has no types
    """Be transposed without a copy of the indices."""

    def transpose(self, axes: None = None, copy: bool = False) -> csc_matrix:  # noqa: ARG002 - scipy's
        """Show the same arrays by column."""
        return _ByItem((self.data, self.indices, self.indptr), shape=self.shape[::-1])


class _ByItem(csc_matrix):  # type: ignore[misc]  # scipy has no types
    """Become rows without a copy of the indices."""

    def tocsr(self, copy: bool = False) -> csr_matrix:  # noqa: ARG002 - scipy's
        """Return what scipy's ``tocsr`` returns; that one copies both index arrays for it."""
        rows, columns = self.shape
        index = self.indices.dtype
        indptr = np.empty(rows + 1, dtype=index)
        indices, data = np.empty(self.nnz, dtype=index), np.empty(self.nnz, dtype=self.dtype)
        _sparsetools.csr_tocsc(
            columns, rows, self.indptr, self.indices, self.data, indptr, indices, data
        )
        found = csr_matrix((data, indices, indptr), shape=self.shape)
        found.data = data.view(_Weights)
        found.has_sorted_indices = True
        return found

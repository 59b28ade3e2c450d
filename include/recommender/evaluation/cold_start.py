"""Measure what newcomers get: unknown users a popularity list, new items a place by their content.

The id tables know only users and items from before the test window, so newcomers are those of the
validation window: everything is as of the end of the training window, on which these models are
fitted. The minimum support is counted over both windows, so newcomers here took at least that
much within the validation window; rows of rarer ones are counted in the profile and not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.evaluation import metrics
from recommender.interactions import Interactions
from recommender.models import Model
from recommender.ranking import entries


def measure(
    training: Interactions,
    validation: Interactions,
    for_users: Mapping[str, Model],
    for_items: Mapping[str, Model],
    k: int,
) -> dict[str, Any]:
    """Return counts and Recall@K of newcomers, as ``users`` and ``items``.

    Args:
        training: what is known.
        validation: what newcomers took.
        for_users: models that serve unknown users; fitted on ``training`` here.
        for_items: models that can reach items without interactions; fitted here, too.
        k: length of the lists.
    """
    known, taken = training.matrix(), validation.matrix()
    return {
        "users": _users(training, known, taken, for_users, k),
        "items": _items(training, known, taken, for_items, k),
    }


def _users(
    training: Interactions,
    known: csr_matrix,
    taken: csr_matrix,
    models: Mapping[str, Model],
    k: int,
) -> dict[str, Any]:
    """Measure users without a training row on the known items they took."""
    new_user = np.diff(known.indptr) == 0
    old_item = np.bincount(known.indices, minlength=known.shape[1]) > 0
    users, held_out = _held_out(taken, new_user, old_item)
    recall = {
        name: _recall(m.fit(training), users, held_out, k, None) for name, m in models.items()
    }
    return {"users": len(users), "held_out": int(held_out.nnz), "recall": recall}


def _items(
    training: Interactions,
    known: csr_matrix,
    taken: csr_matrix,
    models: Mapping[str, Model],
    k: int,
) -> dict[str, Any]:
    """Measure known users on the items they took that have no training row.

    The lists hold known items as well; only new ones can be hits.
    """
    old_user = np.diff(known.indptr) > 0
    new_item = np.bincount(known.indices, minlength=known.shape[1]) == 0
    users, held_out = _held_out(taken, old_user, new_item)
    recall = {
        name: _recall(m.fit(training), users, held_out, k, known) for name, m in models.items()
    }
    items = len(np.unique(held_out.indices))
    return {"items": items, "users": len(users), "held_out": int(held_out.nnz), "recall": recall}


def _held_out(
    taken: csr_matrix, of_users: npt.NDArray[np.bool_], of_items: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], csr_matrix]:
    """Return the users and their rows of ``taken`` that lie in both masks, users without left out."""
    rows, columns = entries(taken, np.arange(taken.shape[0], dtype=np.int32))
    kept = of_users[rows] & of_items[columns]
    users, inverse = np.unique(rows[kept], return_inverse=True)
    shape = (len(users), taken.shape[1])
    held_out = csr_matrix((np.ones(len(inverse), np.float32), (inverse, columns[kept])), shape)
    held_out.sort_indices()
    return users.astype(np.int32), held_out


def _recall(
    model: Model,
    users: npt.NDArray[np.int32],
    held_out: csr_matrix,
    k: int,
    seen: csr_matrix | None,
) -> float | None:
    """Return mean Recall@K; None if there is nobody to measure."""
    if not len(users):
        return None
    hit = metrics.hits(model.recommend(users, k, seen).items, held_out)
    return float(metrics.recall(hit, np.diff(held_out.indptr)).mean())

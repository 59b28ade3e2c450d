"""Break the measured users and items down: who gains, on which items, at which length of list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.evaluation import metrics
from recommender.evaluation.metrics import Hits, Lists, PerUser, Population

COHORTS = ("light", "medium", "heavy")
PARTS = ("head", "tail")
_STEPS = (1, 2, 5)
_BLOCK_USERS = 1 << 14
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cohort:
    """Hold a third of the measured users, by how much they took before.

    Attributes:
        users: (n,) bool over the population.
        rows: fewest and most fit interactions of its users.
    """

    users: Mask
    rows: tuple[int, int]


def cohorts(fit: csr_matrix, population: Population) -> dict[str, Cohort]:
    """Cut the population into thirds by fit interactions: light, medium, heavy.

    Users with equally many interactions stay together, so thirds may differ in size, and one that
    is empty is left out.
    """
    rows = np.diff(fit.indptr)[population.users]
    ends = np.quantile(rows, [1 / 3, 2 / 3], method="lower")
    place = np.searchsorted(ends, rows, side="left")
    found = {}
    for number, name in enumerate(COHORTS):
        users = place == number
        if users.any():
            found[name] = Cohort(users, (int(rows[users].min()), int(rows[users].max())))
    return found


def head(popularity: npt.NDArray[np.int64]) -> Mask:
    """Return which items are the head: the most popular ones that hold half of the fit rows.

    Args:
        popularity: (items,) fit interactions of each item. Ties break by item index.
    """
    order = np.lexsort((-popularity,))
    before = np.cumsum(popularity[order]) - popularity[order]
    chosen = np.zeros(len(popularity), dtype=np.bool_)
    chosen[order[before < popularity.sum() / 2]] = True
    return chosen


@dataclass(frozen=True)
class Part:
    """Hold the head or the tail of the catalogue.

    Attributes:
        items: (items,) bool.
        sizes: (n,) int64, held-out items of each user that belong to it; may be 0.
    """

    items: Mask
    sizes: npt.NDArray[np.int64]

    def recall(self, recommended: Lists, hit: Hits) -> PerUser:
        """Return Recall@K of the part's held-out items, for each of the users that have one."""
        found = (hit & self.items[np.maximum(recommended, 0)]).sum(axis=1)
        asked = self.sizes > 0
        return np.asarray(found[asked] / self.sizes[asked], dtype=np.float64)

    def facts(self) -> dict[str, int]:
        """Return how much the part holds, for the report."""
        return {
            "items": int(self.items.sum()),
            "held_out": int(self.sizes.sum()),
            "users": int((self.sizes > 0).sum()),
        }


def parts(popularity: npt.NDArray[np.int64], population: Population) -> dict[str, Part]:
    """Split items with a fit interaction into head and tail."""
    in_head = head(popularity)
    masks = (in_head, ~in_head & (popularity > 0))
    sizes = ((population.held_out @ mask.astype(np.float64)).astype(np.int64) for mask in masks)
    return {name: Part(mask, size) for name, mask, size in zip(PARTS, masks, sizes, strict=True)}


def mean(values: PerUser) -> float:
    """Return the mean, 0 over nobody."""
    return float(values.mean()) if len(values) else 0.0


def gain_error(candidate: PerUser, other: PerUser) -> float:
    """Return the standard error of the mean paired difference over the same users.

    sd(candidate - other) / sqrt(n), with n - 1 in the variance; 1 (nothing is known) below two users.
    """
    if len(candidate) < 2:
        return 1.0
    return float((candidate - other).std(ddof=1) / np.sqrt(len(candidate)))


def lengths(k: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, ... up to k, and k itself."""
    found = [step * 10**power for power in range(len(str(k))) for step in _STEPS]
    return sorted({length for length in found if length < k} | {k})


def curves(hit: Hits, sizes: npt.NDArray[np.int64], ks: list[int]) -> dict[str, list[float]]:
    """Return mean recall and nDCG of the first ``ks`` places of the same lists."""
    return {
        "recall": [float(metrics.recall(hit[:, :k], sizes).mean()) for k in ks],
        "ndcg": [float(metrics.ndcg(hit[:, :k], sizes).mean()) for k in ks],
    }


def histories(
    fit: csr_matrix, popularity: npt.NDArray[np.int64], users: npt.NDArray[np.int32]
) -> PerUser:
    """Return the mean popularity of what each user took before, (n,).

    In blocks of users: a copy of their rows would be as large as the matrix.
    """
    found = np.empty(len(users))
    for start in range(0, len(users), _BLOCK_USERS):
        block = slice(start, start + _BLOCK_USERS)
        had = fit[users[block]]
        total = np.add.reduceat(popularity[had.indices].astype(np.float64), had.indptr[:-1])
        found[block] = total / np.diff(had.indptr)
    return found

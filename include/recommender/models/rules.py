"""Recommend by association rules between pairs of items: who has i takes j.

For items i and j over n users (Agrawal et al. 1993; lift: Brin et al. 1997)::

    support(i, j)     = users with both / n
    confidence(i, j)  = users with both / users with i
    lift(i, j)        = confidence(i, j) / (users with j / n)

These are the rules with one antecedent of Spark MLlib's FPGrowth, equal in a test. FPGrowth itself
finds longer rules too and has no limit on their length: on baskets of hundreds of items, as a
household's year is one, their number explodes. See docs/decisions/0013.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.models.neighbours import Neighbours

_BLOCK_PAIRS = 4_000_000  # co-occurrences counted at a time: some 50 MB


class Rules(NamedTuple):
    """Hold rules, one a place, sorted by antecedent, then consequent.

    Attributes:
        antecedent: (n,) int32 item.
        consequent: (n,) int32 item.
        support: (n,) float64.
        confidence: (n,) float64.
        lift: (n,) float64.
    """

    antecedent: npt.NDArray[np.int32]
    consequent: npt.NDArray[np.int32]
    support: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    lift: npt.NDArray[np.float64]


_EMPTY = Rules(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0), np.empty(0))


def mine(history: csr_matrix, min_support: float, min_confidence: float) -> Rules:
    """Find every rule between two items, from (users, items) CSR.

    Args:
        history: stored entries say who has what; users without any do not count.
        min_support: smallest share of the users that have both.
        min_confidence: smallest confidence.
    """
    baskets = history[np.diff(history.indptr) > 0].astype(np.float32)
    baskets.data[:] = 1
    users = baskets.shape[0]
    least = max(1, int(np.ceil(min_support * users - 1e-9)))
    counts = np.bincount(baskets.indices, minlength=baskets.shape[1])
    frequent = np.flatnonzero(counts >= least).astype(np.int32)
    kept = baskets[:, frequent].tocsr()
    by_item = kept.T.tocsr()
    step = max(1, _BLOCK_PAIRS // max(1, len(frequent)))
    rules = _EMPTY
    for start in range(0, len(frequent), step):
        together = by_item[start : start + step] @ kept
        rules = _joined(rules, _of_block(together, start, counts[frequent], users, least))
    rules = _taken(rules, rules.confidence >= min_confidence)
    antecedent, consequent = frequent[rules.antecedent], frequent[rules.consequent]
    return rules._replace(antecedent=antecedent, consequent=consequent)


def _of_block(
    together: csr_matrix, start: int, counts: npt.NDArray[np.int64], users: int, least: int
) -> Rules:
    """Return the rules of a block of antecedents, indices among the frequent items."""
    together.sort_indices()
    pairs = together.tocoo()
    antecedent = (pairs.row + start).astype(np.int32)
    kept = (pairs.data >= least) & (antecedent != pairs.col)
    antecedent, consequent = antecedent[kept], pairs.col[kept].astype(np.int32)
    both = pairs.data[kept].astype(np.float64)
    confidence = both / counts[antecedent]
    lift = confidence / (counts[consequent] / users)
    return Rules(antecedent, consequent, both / users, confidence, lift)


def _taken(rules: Rules, kept: npt.NDArray[np.bool_]) -> Rules:
    return Rules(
        rules.antecedent[kept],
        rules.consequent[kept],
        rules.support[kept],
        rules.confidence[kept],
        rules.lift[kept],
    )


def _joined(first: Rules, second: Rules) -> Rules:
    return Rules(
        np.concatenate([first.antecedent, second.antecedent]),
        np.concatenate([first.consequent, second.consequent]),
        np.concatenate([first.support, second.support]),
        np.concatenate([first.confidence, second.confidence]),
        np.concatenate([first.lift, second.lift]),
    )


class AssociationRules(Neighbours):
    """Score an item by the confidence of the rules that lead to it, summed over what a user has.

    Only rules of lift above 1 count (the others say that i keeps from j), and the ``neighbours``
    most confident of each antecedent.
    """

    kind: ClassVar[str] = "association_rules"

    def __init__(
        self,
        min_support: float = 0.01,
        min_confidence: float = 0.05,
        neighbours: int = 100,
        threads: int = 0,
    ) -> None:
        super().__init__(neighbours, threads)
        self.min_support = min_support
        self.min_confidence = min_confidence

    def similarities(self, history: csr_matrix) -> csr_matrix:
        """Mine the rules and keep each antecedent's most confident ones."""
        items = history.shape[1]
        rules = mine(history, self.min_support, self.min_confidence)
        rules = _taken(rules, rules.lift > 1)
        order = np.lexsort((rules.consequent, -rules.confidence, rules.antecedent))
        antecedent = rules.antecedent[order]
        first = np.searchsorted(antecedent, antecedent, side="left")
        order = order[np.arange(len(order)) - first < self.neighbours]
        values = rules.confidence[order]
        places = rules.antecedent[order], rules.consequent[order]
        return csr_matrix((values, places), shape=(items, items))

    def settings(self) -> dict[str, Any]:
        """Return both minima as well."""
        minima = {"min_support": self.min_support, "min_confidence": self.min_confidence}
        return {**super().settings(), **minima}

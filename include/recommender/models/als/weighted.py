"""Weigh the rows of a fit."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from recommender import history
from recommender.interactions import Interactions
from recommender.objective import Als
from recommender.weighting import weigh


def weighted(interactions: Interactions, als: Als) -> csr_matrix:
    """Return r of the objective, (users, items) CSR float32. See ``weighting.weigh``."""
    r = weigh(
        interactions.confidence,
        np.diff(interactions.indptr),
        interactions.age_days() if len(interactions) else None,
        typical_rows=history.typical_rows(interactions),
        half_life_days=als.half_life_days,
        user_balance=als.user_balance,
    )
    return interactions.matrix(r)

"""Draw the fixed users that are asked again, from the loaded artifact, before it is published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from recommender.config import Evaluate
from recommender.evaluation.leaderboard import Ranker
from recommender.interactions import Interactions

USERS = 200


def draw(
    model: Ranker,
    history: Interactions,
    settings: Evaluate,
    ids: tuple[pa.StringArray, pa.StringArray],
) -> dict[str, Any]:
    """Return seeded users with fit rows and the lists that the evaluated model gives them.

    Args:
        model: the candidate.
        history: the fit rows.
        settings: k, filter, seed.
        ids: user ids and item ids in order of index.
    """
    known = np.flatnonzero(np.diff(history.indptr)).astype(np.int32)
    generator = np.random.default_rng(settings.seed)
    users = np.sort(generator.choice(known, min(USERS, len(known)), replace=False))
    seen = history.matrix() if settings.filter_seen else None
    ranked = model.recommend(users, settings.k, seen)
    user_ids, item_ids = ids
    return {
        "k": settings.k,
        "exclude_seen": settings.filter_seen,
        "seed": settings.seed,
        "users": [
            {
                "user": user_ids[int(user)].as_py(),
                "items": item_ids.take(pa.array(items[items >= 0])).to_pylist(),
                "scores": scores[items >= 0].tolist(),
            }
            for user, items, scores in zip(users, ranked.items, ranked.scores, strict=True)
        ],
    }

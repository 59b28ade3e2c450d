"""Show ten users of the measured population: what they had, what they took, what they would get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recommender.artifact import ALS
from recommender.config import Evaluate
from recommender.evaluation import breakdown
from recommender.evaluation.leaderboard import Ranker
from recommender.evaluation.metrics import Population
from recommender.interactions import Interactions

USERS = 10
_HISTORY = 10
CHAMPION = "champion"


def draw(
    models: Mapping[str, Ranker],
    history: Interactions,
    population: Population,
    settings: Evaluate,
    ids: tuple[pa.StringArray, pa.StringArray],
) -> list[dict[str, Any]]:
    """Return ten users of the population, seeded, as evenly from the cohorts as their sizes allow.

    Args:
        models: by name; the lists of ``als`` and, where it is there, ``champion`` are shown.
        history: the fit rows.
        population: who was measured.
        settings: k, filter, seed.
        ids: user ids and item ids in order of index.
    """
    fit = history.matrix()
    chosen = _choose(breakdown.cohorts(fit, population), settings.seed)
    places = np.array([place for place, _ in chosen], dtype=np.intp)
    users = population.users[places]
    seen = fit if settings.filter_seen else None
    lists = {
        name: models[name].recommend(users, settings.k, seen).items
        for name in (ALS, CHAMPION)
        if name in models
    }
    user_ids, item_ids = ids
    return [
        {
            "user": user_ids[int(user)].as_py(),
            "cohort": cohort,
            "history": _names(_newest(history, int(user)), item_ids),
            "held_out": _names(population.held_out[place].indices, item_ids),
            "lists": {name: _names(items[row], item_ids) for name, items in lists.items()},
        }
        for row, (user, (place, cohort)) in enumerate(zip(users, chosen, strict=True))
    ]


def _choose(cohorts: Mapping[str, breakdown.Cohort], seed: int) -> list[tuple[int, str]]:
    """Return (place in the population, cohort) of ten users: one of each cohort in turn."""
    generator = np.random.default_rng(seed)
    drawn = [
        [
            (int(place), name)
            for place in generator.permutation(np.flatnonzero(cohort.users))[:USERS]
        ]
        for name, cohort in cohorts.items()
    ]
    in_turn = [users[number] for number in range(USERS) for users in drawn if number < len(users)]
    return sorted(in_turn[:USERS], key=lambda pair: list(cohorts).index(pair[1]))


def _newest(history: Interactions, user: int) -> npt.NDArray[np.int32]:
    """Return the user's latest items, the newest first; equal times in order of index."""
    rows = slice(history.indptr[user], history.indptr[user + 1])
    order = np.lexsort((-history.timestamp[rows],))
    return history.items[rows][order][:_HISTORY]


def _names(items: npt.NDArray[np.integer], ids: pa.StringArray) -> list[str]:
    return [ids[int(item)].as_py() for item in items if item >= 0]

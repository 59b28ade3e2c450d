"""Make the report of one machine from the sums of many ranges: the same keys, the same meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from recommender.artifact import ALS
from recommender.config import Evaluate
from recommender.distributed.tally import Tally
from recommender.evaluation import bootstrap, breakdown
from recommender.evaluation.breakdown import COHORTS, PARTS
from recommender.evaluation.metrics import METRICS
from recommender.evaluation.probes import USERS as PROBED
from recommender.evaluation.samples import USERS as SHOWN


def report(tally: Tally, popularity: Mapping[int, int], settings: Evaluate) -> dict[str, Any]:
    """Return what ``leaderboard.evaluate`` returns of the same users.

    Args:
        tally: of all ranges; somebody was measured.
        popularity: how many items have so many fit interactions.
        settings: k, bootstrap.
    """
    names, users = list(tally.models), tally.population["users"]
    catalogue = sum(items for rows, items in popularity.items() if rows)
    return {
        "k": settings.k,
        "population": {**tally.population, "catalogue": catalogue},
        "models": {name: _scores(tally, name, catalogue, settings) for name in names},
        "comparisons": [_compare(tally, name, settings) for name in names if name != ALS],
        "curves": {
            "k": breakdown.lengths(settings.k),
            "recall": {n: (tally.models[n].curves[0] / users).tolist() for n in names},
            "ndcg": {n: (tally.models[n].curves[1] / users).tolist() for n in names},
        },
        "cohorts": _cohorts(tally),
        "items": _parts(tally, popularity),
        "overlap": {
            name: float(one.overlap[0] / one.overlap[1]) if one.overlap[1] else 0.0
            for name, one in tally.models.items()
            if name != ALS
        },
    }


def cold(tally: Tally) -> dict[str, Any]:
    """Return what ``cold_start.measure`` returns; no model here reaches new items."""
    new = tally.cold
    recall = {n: value / new.users if new.users else None for n, value in new.recall.items()}
    return {
        "users": {"users": new.users, "held_out": new.held_out, "recall": recall},
        "items": {
            "items": new.items.size,
            "users": new.item_users,
            "held_out": new.item_held_out,
            "recall": {},
        },
    }


def samples(tally: Tally) -> list[dict[str, Any]]:
    """Return ten of the drawn users, as evenly from the cohorts as their sizes allow."""
    ends = _ends(tally)
    of_cohort: dict[str, list[dict[str, Any]]] = {name: [] for name in COHORTS}
    for _, told in tally.samples.drawn:
        place = int(np.searchsorted(ends, told["rows"], side="left"))
        shown = {key: value for key, value in told.items() if key != "rows"}
        of_cohort[COHORTS[place]].append({**shown, "cohort": COHORTS[place]})
    in_turn = [users[n] for n in range(SHOWN) for users in of_cohort.values() if n < len(users)]
    return sorted(in_turn[:SHOWN], key=lambda told: COHORTS.index(told["cohort"]))


def probes(tally: Tally, settings: Evaluate) -> dict[str, Any]:
    """Return the drawn users with the candidate's lists, as ``probes.draw`` does."""
    users = [told for _, told in tally.probes.drawn[:PROBED]]
    return {
        "k": settings.k,
        "exclude_seen": settings.filter_seen,
        "seed": settings.seed,
        "users": sorted(users, key=lambda told: str(told["user"])),
    }


def _scores(tally: Tally, name: str, catalogue: int, settings: Evaluate) -> dict[str, Any]:
    one, users = tally.models[name], tally.population["users"]
    means = dict(zip(METRICS, (one.metrics / users).tolist(), strict=True))
    low, high = bootstrap.interval_of(
        one.recall.values,
        one.recall.counts,
        settings.bootstrap_samples,
        settings.interval,
        settings.seed,
    )
    # The ranges have summed up -log2 of the items' popularity; log2 of the users is of all of them.
    novelty = (one.novelty + one.filled * math.log2(tally.warm_users)) / users
    return {
        **means,
        "recall_ci": [low, high],
        "coverage": min(1.0, one.items.size / catalogue),
        "novelty": novelty,
        "popularity_bias": one.popularity / tally.histories - 1,
    }


def _compare(tally: Tally, name: str, settings: Evaluate) -> dict[str, Any]:
    gain, reference = tally.models[name].gain, tally.models[name].recall.mean
    found = bootstrap.comparison_of(
        gain.values,
        gain.counts,
        reference,
        settings.bootstrap_samples,
        settings.interval,
        settings.seed,
    )
    return {"candidate": ALS, "baseline": name, "metric": "recall", **asdict(found)}


def _ends(tally: Tally) -> np.ndarray:
    """Return the rows at which the light third and the medium third end, as ``cohorts`` cuts."""
    table = tally.models[ALS].by_rows
    reached = np.cumsum(table.sums[:, 0]).astype(np.int64)
    places = np.floor(np.array([1 / 3, 2 / 3]) * (reached[-1] - 1)).astype(np.int64)
    return np.asarray(table.rows[np.searchsorted(reached, places, side="right")])


def _cohorts(tally: Tally) -> dict[str, Any]:
    rows, ends = tally.models[ALS].by_rows.rows, _ends(tally)
    place = np.searchsorted(ends, rows, side="left")
    found = {}
    for number, cohort in enumerate(COHORTS):
        mine = place == number
        if not mine.any():
            continue
        sums = {name: one.by_rows.sums[mine].sum(axis=0) for name, one in tally.models.items()}
        found[cohort] = {
            "users": int(sums[ALS][0]),
            "rows": [int(rows[mine].min()), int(rows[mine].max())],
            "recall": {name: float(s[1] / s[0]) for name, s in sums.items()},
            "gain_error": {
                name: _gain_error(s[0], s[2], s[3]) for name, s in sums.items() if name != ALS
            },
        }
    return found


def _parts(tally: Tally, popularity: Mapping[int, int]) -> dict[str, Any]:
    sizes = _part_sizes(popularity)
    found = {}
    for number, part in enumerate(PARTS):
        sums = {name: one.parts[number] for name, one in tally.models.items()}
        found[part] = {
            "items": sizes[number],
            "held_out": int(tally.parts[number][0]),
            "users": int(tally.parts[number][1]),
            "recall": {name: float(s[1] / s[0]) if s[0] else 0.0 for name, s in sums.items()},
            "gain_error": {
                name: _gain_error(s[0], s[2], s[3]) for name, s in sums.items() if name != ALS
            },
        }
    return found


def _part_sizes(popularity: Mapping[int, int]) -> tuple[int, int]:
    """Return how many items the head and the tail hold; see ``breakdown.head``."""
    half = sum(rows * items for rows, items in popularity.items()) / 2
    before, head = 0, 0
    for rows in sorted((rows for rows in popularity if rows), reverse=True):
        if before >= half:
            break
        taken = min(popularity[rows], math.ceil((half - before) / rows))
        before, head = before + taken * rows, head + taken
    return head, sum(items for rows, items in popularity.items() if rows) - head


def _gain_error(users: float, gain: float, squares: float) -> float:
    """Return sd(gain) / sqrt(n) from sums; see ``breakdown.gain_error``."""
    if users < 2:
        return 1.0
    variance = max(0.0, (squares - gain**2 / users) / (users - 1))
    return float(math.sqrt(variance / users))

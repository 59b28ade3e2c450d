"""Reports as the evaluation writes them, for the tests of the gate."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st

from recommender.gate import Attempt, ChampionRef, Decision, Policy, Rule

Report = dict[str, Any]
HALF_WIDTH = 1e-3  # of every interval in these reports
POLICY = Policy(max_cohort_drop=None, max_item_drop=None)  # the rules about the whole
CHAMPION = ChampionRef(
    version="2017-11-30-0a1b2c3d",
    snapshot=dt.date(2017, 11, 30),
    uri="s3://models/shop/versions/2017-11-30-0a1b2c3d",
    manifest_sha256="00" * 32,
    run_key="scheduled-1",
    decided_at="2017-12-01T02:00:00+00:00",
    previous=None,
)


def attempt(snapshot: str = "2017-12-31", **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "recommender": "shop",
        "snapshot": dt.date.fromisoformat(snapshot),
        "run_key": "manual-1",
        "k": 20,
        "decided_at": dt.datetime(2018, 1, 1, 2, tzinfo=dt.UTC),
    }
    return Attempt(**{**values, **changes})


def scores(recall: float, coverage: float = 0.2) -> Report:
    return {
        "recall": recall,
        "ndcg": recall / 2,
        "map": recall / 4,
        "hit_rate": min(1.0, recall * 2),
        "coverage": coverage,
        "recall_ci": [max(0.0, recall - 0.001), min(1.0, recall + 0.001)],
    }


def split(mean: float, weights: tuple[int, ...], slopes: tuple[float, ...]) -> list[float]:
    """Values with these weights that average to the mean: a cohort's recalls, say."""
    scale = sum(w * s for w, s in zip(weights, slopes, strict=True)) / sum(weights)
    return [mean * slope / scale for slope in slopes]


def groups(recalls: dict[str, float], users: int, held_out: int) -> Report:
    """Cohorts and item groups that agree with the whole: light and tail are found less often."""
    sizes = (users // 3, users // 3, users - 2 * (users // 3))
    cohorts = {
        name: {"users": size, "rows": [1, 9], "recall": {}, "gain_error": {}}
        for name, size in zip(("light", "medium", "heavy"), sizes, strict=True)
    }
    head = held_out // 2
    items = {
        "head": {"items": 40, "held_out": head, "recall": {}, "gain_error": {}},
        "tail": {"items": 900, "held_out": held_out - head, "recall": {}, "gain_error": {}},
    }
    for model, recall in recalls.items():
        parts = split(recall, sizes, (0.9, 1.0, 1.05)) if users else [0.0] * 3
        for cohort, part in zip(cohorts.values(), parts, strict=True):
            cohort["recall"][model] = min(1.0, part)  # type: ignore[index]
        items["head"]["recall"][model] = min(1.0, recall * 1.5)  # type: ignore[index]
        items["tail"]["recall"][model] = recall / 2  # type: ignore[index]
        for group in (*cohorts.values(), *items.values()):
            if model != "als":
                group["gain_error"][model] = 1e-4  # type: ignore[index]
    return {"cohorts": cohorts, "items": items}


def make_report(
    als: float = 0.04,
    popularity: float = 0.03,
    recent: float = 0.0335,
    *,
    champion: float | None = None,
    saw_held_out: bool = False,
    ci_low: float | None = None,
    users: int = 2372,
    held_out: int = 56815,
    coverage: float = 0.2,
    overlap: float = 0.6,
) -> Report:
    """A report as the evaluation writes it; by default ALS wins by 19 %."""
    models = {
        "als": scores(als, coverage),
        "popularity": scores(popularity),
        "popularity_recent": scores(recent),
    }
    if champion is not None:
        models["champion"] = scores(champion)
    comparisons = []
    for name, model in models.items():
        if name == "als":
            continue
        difference = als - model["recall"]
        comparisons.append(
            {
                "candidate": "als",
                "baseline": name,
                "metric": "recall",
                "difference": difference,
                "relative": difference / model["recall"] if model["recall"] else None,
                "ci_low": max(-1.0, difference - HALF_WIDTH) if ci_low is None else ci_low,
                "ci_high": min(1.0, difference + HALF_WIDTH),
            }
        )
    version = {"version": CHAMPION.version, "saw_held_out": saw_held_out}
    candidate = {"uri": "s3://work/candidate", "sha256": "11" * 32}
    return {
        "k": 20,
        "population": {"users": users, "held_out": held_out, "cold_users": 12},
        "models": models,
        "comparisons": comparisons,
        **groups({name: m["recall"] for name, m in models.items()}, users, held_out),
        "overlap": {name: overlap for name in models if name != "als"},
        "lineage": {
            "candidate": candidate,
            "champion": version if champion is not None else None,
            "seed": 42,
        },
    }


def failed(decision: Decision) -> list[str]:
    return [rule.name for rule in decision.rules if not rule.passed]


def outcome(decision: Decision, name: str) -> Rule:
    return next(rule for rule in decision.rules if rule.name == name)


shares = st.floats(min_value=0, max_value=1, allow_subnormal=False)

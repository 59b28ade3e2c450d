"""What training and evaluation leave behind, made by hand, and the way from there to a champion."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from recommender import manifest, registry, storage
from recommender.gate import Attempt, ChampionRef, Decision, Policy, Verification, decide
from recommender.locations import MANIFEST, Locations, join
from recommender.registry.changes import Request

NAME = "shop"
# The reports here have no cohorts and no item groups.
POLICY = Policy(min_users=1, min_held_out=1, max_cohort_drop=None, max_item_drop=None)
NOON = dt.datetime(2018, 2, 1, 12, tzinfo=dt.UTC)


def places(root: str) -> Locations:
    return Locations(f"{root}/lake", f"{root}/work", f"{root}/models")


@dataclass(frozen=True)
class Case:
    """One run that trained and evaluated a candidate."""

    attempt: Attempt
    candidate: str
    report: str

    def decide(self, locations: Locations) -> Decision:
        found = registry.read_champion(locations, NAME)
        report = storage.read_json(join(self.report, "report.json"))
        digest = report["lineage"]["candidate"]["sha256"]
        verified = Verification(digest, 200, 1.0, 1.0, 100.0, ())
        return decide(report, POLICY, self.attempt, found[0] if found else None, verified)

    def publish(self, locations: Locations, decision: Decision) -> registry.Published:
        return registry.publish(locations, decision, self.candidate, self.report)


def scores(recall: float) -> dict[str, Any]:
    names = ("recall", "ndcg", "map", "hit_rate", "coverage")
    return {**dict.fromkeys(names, recall), "recall_ci": [recall, recall]}


def make_run(
    locations: Locations, snapshot: str, run: str = "run", *, recall: float = 0.2, **attempt: Any
) -> Case:
    """Write what training and evaluation leave behind, against today's champion."""
    date = dt.date.fromisoformat(snapshot)
    at = locations.run(NAME, date, run)
    storage.write(join(at.candidate, "als/item_factors.npy"), f"factors of {run}".encode())
    storage.write(join(at.candidate, "users.parquet"), b"users")
    manifest.seal(at.candidate, "candidate", {"recommender": NAME, "fit_until": 1})
    found = registry.read_champion(locations, NAME)
    models = {"als": recall, "popularity": 0.1, "popularity_recent": 0.1}
    if found:
        models["champion"] = recall
    comparisons = [
        {
            "candidate": "als",
            "baseline": name,
            "metric": "recall",
            "difference": recall - value,
            "relative": (recall - value) / value,
            "ci_low": (recall - value) / 2,
            "ci_high": recall,
        }
        for name, value in models.items()
        if name != "als"
    ]
    champion = {"version": found[0].version, "saw_held_out": False} if found else None
    digest = storage.sha256(join(at.candidate, MANIFEST))
    report = {
        "k": 20,
        "population": {"users": 200, "held_out": 900},
        "models": {name: scores(value) for name, value in models.items()},
        "comparisons": comparisons,
        "lineage": {
            "candidate": {"sha256": digest},
            "champion": champion,
            "dataset": {"uri": at.dataset},
        },
    }
    storage.write_json(join(at.report, "report.json"), report)
    manifest.seal(at.report, "report")
    decided_at = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    return Case(Attempt(NAME, date, run, 20, decided_at, **attempt), at.candidate, at.report)


def promote(locations: Locations, snapshot: str, run: str = "run", **changes: Any) -> str:
    case = make_run(locations, snapshot, run, **changes)
    return case.publish(locations, case.decide(locations)).version


def champion(locations: Locations) -> ChampionRef:
    """The champion, every file of its version verified."""
    found = registry.load_champion(locations, NAME)
    assert found is not None
    return found[0]


def request(reason: str = "sales fell", by: str = "ada") -> Request:
    return Request(NAME, by, reason, NOON)

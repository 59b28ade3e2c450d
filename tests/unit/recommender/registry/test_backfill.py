"""A backfill ends in one state: in whatever order it ran, two runs at a time, or once more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from registry_store import NAME, make_run, places

from recommender import registry
from recommender.errors import ConflictError
from recommender.locations import Locations
from recommender.registry import catalogue, pointer, quality

MONTHS = ["2017-07-31", "2017-08-31", "2017-09-30", "2017-10-31", "2017-11-30", "2017-12-31"]
ORDERS = {
    "oldest first": MONTHS,
    "newest first": MONTHS[::-1],
    "shuffled": [MONTHS[n] for n in (3, 0, 5, 1, 4, 2)],
}


def backfill(locations: Locations, date: str) -> None:
    """Train, measure, decide and publish; measure again when the champion has moved meanwhile."""
    while True:
        recall = 0.2 + MONTHS.index(date) / 100
        case = make_run(locations, date, f"backfill-{date}", recall=recall)
        decision = case.decide(locations)
        if decision.stale:
            continue
        try:
            case.publish(locations, decision)
        except ConflictError:
            continue
        registry.record_decision(locations, decision)
        return


def state(locations: Locations) -> dict[str, Any]:
    """What is published, what was measured, and who is champion; not in which order it came."""
    found = registry.load_champion(locations, NAME)
    assert found is not None
    pointer.history(locations, NAME)
    versions = {
        v.name: registry.load_version(locations, NAME, v.name)
        for v in catalogue.versions(locations, NAME)
    }
    points = [quality.point(d) for d in catalogue.decisions(locations, NAME)]
    return {
        "champion": found[0].version,
        "models": {
            name: {n: f.sha256 for n, f in sealed.files.items() if not n.endswith(".json")}
            for name, sealed in versions.items()
        },
        "quality": [
            (p.snapshot.isoformat(), p.run, p.recall, p.baseline, p.baseline_recall, p.gain_low)
            for p in points
        ],
        "refused": [p.run for p in points if p.verdict == "refused"],
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    locations = places(str(tmp_path_factory.mktemp("expected")))
    for month in MONTHS:
        backfill(locations, month)
    return state(locations)


@pytest.mark.parametrize("workers", [1, 2], ids=["one at a time", "two at a time"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_ends_in_the_same_state_and_so_does_a_repetition(
    tmp_path: Path, expected: dict[str, Any], order: str, workers: int
) -> None:
    locations = places(str(tmp_path))
    for _ in range(2):
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda date: backfill(locations, date), ORDERS[order]))
        found = state(locations)
        assert found == expected
    assert found["champion"].startswith("2017-12-31-")
    assert len(found["models"]) == len(found["quality"]) == 6
    assert found["refused"] == []

"""Which earlier windows a stability rule counts: those of older snapshots, the newest first."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from gate_reports import attempt, make_report

from recommender import registry, storage
from recommender.gate import Policy, decide
from recommender.locations import Locations, join
from recommender.registry.windows import earlier_windows

BEFORE = dt.date(2017, 12, 31)


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(*(str(tmp_path / name) for name in ("lake", "work", "models")))


def record(
    locations: Locations,
    snapshot: str,
    *,
    als: float = 0.04,
    key: str = "a",
    hour: int = 2,
    k: int = 20,
) -> None:
    moment = dt.datetime(2018, 1, 1, hour, tzinfo=dt.UTC)
    report = {**make_report(als=als), "k": k}
    decision = decide(
        report, Policy(), attempt(snapshot, run_key=key, decided_at=moment, k=k), None
    )
    registry.record_decision(locations, decision)


def read(locations: Locations, count: int) -> list[tuple[str, bool]]:
    found = earlier_windows(locations, "shop", BEFORE, 20, count)
    return [(window.snapshot, window.won) for window in found]


def test_the_newest_older_snapshots_count_and_newer_ones_do_not(locations: Locations) -> None:
    record(locations, "2017-09-30")
    record(locations, "2017-10-31", als=0.01)
    record(locations, "2017-11-30")
    record(locations, "2017-12-31", als=0.01)  # the same snapshot: an earlier run of today's
    record(locations, "2018-01-31", als=0.01)  # a backfill must not look ahead
    assert read(locations, 2) == [("2017-11-30", True), ("2017-10-31", False)]
    assert read(locations, 9) == [
        ("2017-11-30", True), ("2017-10-31", False), ("2017-09-30", True),
    ]  # fmt: skip
    assert read(locations, 0) == []


def test_of_several_runs_over_a_snapshot_the_last_decided_counts(locations: Locations) -> None:
    record(locations, "2017-11-30", key="a", hour=5)
    record(locations, "2017-11-30", key="b", hour=3, als=0.01)
    assert read(locations, 1) == [("2017-11-30", True)]
    record(locations, "2017-11-30", key="c", hour=7, als=0.01)
    assert read(locations, 1) == [("2017-11-30", False)]
    note = earlier_windows(locations, "shop", BEFORE, 20, 1)[0].note
    assert "was lost (Recall@20 is 0.01, 70.1% below" in note


def test_a_window_at_another_k_or_without_a_readable_decision_is_not_won(
    locations: Locations,
) -> None:
    record(locations, "2017-10-31", k=10)
    record(locations, "2017-11-30")
    uri = join(locations.decisions("shop"), "2017-11-30", "torn.json")
    storage.write(uri, b"{")
    windows = earlier_windows(locations, "shop", BEFORE, 20, 2)
    assert [window.won for window in windows] == [False, False]
    assert windows[0].note == f"has a decision that cannot be read ({uri})"
    assert windows[1].note == "was measured at K = 10, not 20"


def test_a_recommender_without_decisions_has_no_windows(locations: Locations) -> None:
    assert read(locations, 3) == []

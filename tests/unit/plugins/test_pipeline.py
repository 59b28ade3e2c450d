"""Which snapshot a run is about."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from recommender.errors import SnapshotError
from recommender.locations import Locations
from recsys_emr.pipeline import choose_snapshot


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    for date in ("2017-10-31", "2017-11-30", "2017-12-31", "not-a-date"):
        folder = tmp_path / "lake" / "snapshots" / "shop" / date
        folder.mkdir(parents=True)
        (folder / "part.json").write_text("{}")
    return Locations(str(tmp_path / "lake"), str(tmp_path / "work"), str(tmp_path / "models"))


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("asked", "run_type", "logical_date", "expected"),
    [
        ("2017-10-31", "manual", None, "2017-10-31"),  # the Param wins
        ("2017-10-31", "scheduled", at("2017-12-31T02:00"), "2017-10-31"),
        (None, "scheduled", at("2017-11-30T02:00"), "2017-11-30"),
        (None, "backfill", at("2017-10-31T02:00"), "2017-10-31"),
        (None, "scheduled", at("2018-01-31T02:00"), "2018-01-31"),  # will be awaited
        (None, "manual", None, "2017-12-31"),
        (None, "manual", at("2026-01-01T09:30"), "2017-12-31"),  # the form's "now"
        (None, "manual", at("2017-12-15T09:30"), "2017-11-30"),
    ],
)
def test_choice(
    locations: Locations,
    asked: str | None,
    run_type: str,
    logical_date: dt.datetime | None,
    expected: str,
) -> None:
    chosen = choose_snapshot(
        locations, "shop", asked=asked, run_type=run_type, logical_date=logical_date
    )
    assert chosen.isoformat() == expected


def test_a_dataset_without_snapshots_says_where_they_belong(locations: Locations) -> None:
    with pytest.raises(SnapshotError, match=r"expected dated snapshots below .*/bookshop/"):
        choose_snapshot(locations, "bookshop", asked=None, run_type="manual", logical_date=None)


def test_a_manual_date_before_all_snapshots_names_the_nearest(locations: Locations) -> None:
    with pytest.raises(SnapshotError, match="the nearest are 2017-10-31, 2017-11-30, 2017-12-31"):
        choose_snapshot(
            locations, "shop", asked=None, run_type="manual", logical_date=at("2016-01-01T00:00")
        )


def test_a_date_that_is_none_is_refused(locations: Locations) -> None:
    with pytest.raises(SnapshotError, match="YYYY-MM-DD, found 'last friday'"):
        choose_snapshot(
            locations, "shop", asked="last friday", run_type="manual", logical_date=None
        )

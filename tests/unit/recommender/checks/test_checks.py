"""What a check measures, allows, warns of and blocks, and what is kept of it."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
from typing import Any

import pytest

from recommender import config
from recommender.checks import (
    Limits,
    MalformedProfileError,
    Previous,
    Verdict,
    check,
    judge,
    read_measures,
)
from recommender.checks.rules import RULES
from recommender.errors import ConfigError

TODAY = dt.date(2024, 3, 31)
NOON = dt.datetime(2024, 4, 1, 12, tzinfo=dt.UTC)
DAYS = 100


def profile(**changes: Any) -> dict[str, Any]:
    """A shop with 100 rows a day for 100 days; keywords replace sections."""
    found: dict[str, Any] = {
        "stages": [{"stage": "raw", "rows": 10_000}, {"stage": "parsed", "rows": 9_900}],
        "users": 1_000,
        "items": 200,
        "windows": {"train": {"rows": 5_000, "top_item_rows": 100}, "test": {"items": 90}},
        "cold": {"test": {"items": 10}},
        "duplicates": {"rows": 990, "share": 0.1},
        "verified": {"share": 0.8},
        "days": {"first_date": "2023-12-23", "rows": [100] * DAYS},
        "settings": {"holdout_days": 28, "engine": "spark"},
    }
    return {**found, **copy.deepcopy(changes)}


def previous(**changes: Any) -> Previous:
    return Previous(TODAY, "before", "s3://work/before/profile.json", profile(**changes))


def verdict(
    now: dict[str, Any],
    before: Previous | None,
    accepted: str | None = None,
    limits: Limits | None = None,
) -> Verdict:
    return judge(
        "shop", TODAY, "now", now, before, limits or Limits(), accepted=accepted, checked_at=NOON
    )


def results(found: Verdict) -> dict[str, str]:
    return {one.name: one.result for one in found.checks if one.result != "pass"}


def stages(parsed: int) -> dict[str, Any]:
    return {"stages": [{"stage": "parsed", "rows": parsed}]}


def days(rows: list[int]) -> dict[str, Any]:
    first = TODAY - dt.timedelta(days=len(rows) - 1)
    return {"days": {"first_date": first.isoformat(), "rows": rows}}


def test_equal_data_passes_every_check() -> None:
    found = verdict(profile(), previous())
    assert found.outcome == "passed"
    assert results(found) == {}
    assert [one.name for one in found.checks] == list(RULES)
    assert found.compared_with == {
        "snapshot": "2024-03-31",
        "run_key": "before",
        "profile": "s3://work/before/profile.json",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (stages(9_405), {}),  # five percent fewer is the last that passes
        (stages(9_400), {"rows": "warn"}),
        (stages(6_900), {"rows": "block"}),
        (stages(30_000), {"rows": "warn"}),
        ({"users": 600}, {"users": "block"}),
        ({"items": 130}, {"items": "block"}),
        ({"items": 180}, {"items": "warn"}),
        ({"duplicates": {"share": 0.16}}, {"duplicate_share": "warn"}),
        ({"duplicates": {"share": 0.55}}, {"duplicate_share": "block"}),
        ({"verified": {"share": 0.5}}, {"verified_share": "block"}),
        ({"verified": {"share": 0.88}}, {"verified_share": "warn"}),
        ({"windows": {"train": {"rows": 5_000, "top_item_rows": 600}, "test": {"items": 90}}},
         {"top_item_share": "block"}),
        ({"cold": {"test": {"items": 25}}}, {"new_item_share": "warn"}),
        ({"cold": {"test": {"items": 90}}}, {"new_item_share": "block"}),
        (days([100] * 40 + [0] * 3 + [100] * 57), {"gap_days": "warn"}),
        (days([100] * 40 + [0] * 28 + [100] * 32), {"gap_days": "block"}),
        (days([100] * 98 + [600, 100]), {"busiest_day": "warn"}),
        (days([100] * 98 + [2_100, 100]), {"busiest_day": "block"}),
        (days([100] * 72 + [60] * 28), {"rows_a_day": "warn"}),
        (days([100] * 72 + [30] * 28), {"rows_a_day": "block"}),
        ({"days": {"first_date": "2023-12-13", "rows": [100] * DAYS}}, {"lag_days": "warn"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_change_is_told_or_blocked(change: dict[str, Any], expected: dict[str, str]) -> None:
    found = verdict(profile(**change), previous())
    assert results(found) == expected
    outcome = {"warn": "warned", "block": "blocked"}.get("".join(expected.values()), "passed")
    assert found.outcome == outcome


def test_a_verdict_names_measured_previous_and_allowed() -> None:
    found = verdict(
        profile(**stages(6_435), **days([100] * 40 + [0] * 28 + [100] * 32)), previous()
    )
    assert found.reason == (
        "rows that could be read: 6,435, before 9,900 (-35.0%); allowed at least -30.0%; longest gap "
        "in days: 28 (2024-02-01 to 2024-02-28), before 0 (+28); allowed at most +7"
    )
    rows = found.checks[0]
    assert (rows.measured, rows.previous, rows.compared) == (6_435, 9_900, -0.35)
    assert (rows.warn, rows.block) == ((-0.05, 1.0), (-0.3, None))
    assert found.table().splitlines()[0].startswith("block  rows ")


def test_a_reason_lets_blocked_data_pass_and_is_kept() -> None:
    found = verdict(profile(**stages(100)), previous(), accepted=" half the shops were sold ")
    assert found.outcome == "accepted"
    assert found.accepted == "half the shops were sold"
    assert "accepted by hand (half the shops were sold)" in found.reason
    assert results(found) == {"rows": "block"}  # the check itself is not bent
    assert verdict(profile(**stages(100)), previous(), accepted="  ").outcome == "blocked"
    assert verdict(profile(), previous(), accepted="no need").outcome == "passed"


def test_the_first_run_is_held_against_levels_only() -> None:
    found = verdict(profile(), None)
    assert found.outcome == "passed"
    compared = {one.name for one in found.checks if one.result == "pass"}
    assert compared == {"busiest_day", "lag_days"}
    assert verdict(profile(**days([100] * 99 + [2_100])), None).outcome == "blocked"


def test_what_follows_from_settings_is_compared_under_equal_ones_only() -> None:
    changed = {"holdout_days": 7, "engine": "spark"}
    found = verdict(profile(users=10, settings=changed), previous())
    assert found.outcome == "passed"
    assert {"users", "items", "new_item_share"} <= results(found).keys()
    assert results(verdict(profile(**stages(100), settings=changed), previous()))["rows"] == "block"
    another_engine = {"holdout_days": 28, "engine": "duckdb"}  # gives the same rows
    assert results(verdict(profile(users=10, settings=another_engine), previous())) == {
        "users": "block"
    }


def test_what_cannot_be_told_is_not_compared() -> None:
    small = days([5] * 99 + [80])
    found = verdict(profile(verified={"share": None}, **small), previous(**small))
    assert found.outcome == "passed"
    assert results(found)["verified_share"] == "not_compared"
    assert results(found)["busiest_day"] == "not_compared"  # five rows a day: chance


@pytest.mark.parametrize(
    "broken",
    [
        {"users": math.nan},
        {"windows": {"train": {"rows": 0, "top_item_rows": 0}, "test": {"items": 1}}},
        {"days": {"first_date": "2024-01-01", "rows": []}},
        {"days": None},
        {"verified": {"share": "most"}},
        {"stages": [{"stage": "raw", "rows": 1}]},
    ],
    ids=str,
)
def test_a_profile_that_cannot_be_trusted_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(MalformedProfileError, match="the profile cannot be read"):
        read_measures(profile(**broken), TODAY)
    # An older version's profile, or a damaged one, is no measure for others.
    assert verdict(profile(), previous(**broken)).compared_with is None


def test_a_limit_that_is_null_is_switched_off() -> None:
    limits = Limits(rows_block=(None, None), rows_warn=(None, None))
    assert results(verdict(profile(**stages(1)), previous(), limits=limits)) == {}


def test_no_previous_rows_give_nothing_to_divide_by() -> None:
    now = read_measures(profile(), TODAY)
    before = read_measures(profile(**stages(0)), TODAY)
    assert check("rows", now, before, Limits()).result == "not_compared"


def test_the_record_survives_storage() -> None:
    found = verdict(profile(**stages(6_000)), previous(), accepted="moved house")
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Verdict.from_json(document) == found
    with pytest.raises(ValueError, match="not a record of data checks"):
        Verdict.from_json({**document, "format": 2})
    with pytest.raises(ValueError, match="not a record of data checks"):
        Verdict.from_json({**document, "outcome": "fine"})


def test_limits_come_from_the_recommenders_yaml() -> None:
    base = {"name": "shop", "description": "d", "dataset": "shop"}
    read = config.parse(config.Recommender, {**base, "checks": {"rows_block": [-0.5, None]}}, "x")
    assert read.checks == Limits(rows_block=(-0.5, None))
    with pytest.raises(ConfigError, match="did you mean 'rows_block'"):
        config.parse(config.Recommender, {**base, "checks": {"rows_blok": [0, 1]}}, "x")
    with pytest.raises(ConfigError, match="expected low <= high"):
        config.parse(config.Recommender, {**base, "checks": {"rows_block": [1, 0]}}, "x")
    with pytest.raises(ValueError, match=r"each a number or null"):
        Limits(rows_block=(math.nan, None))

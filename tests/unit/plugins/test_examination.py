"""Between preprocessing and training: which run is compared with, what is recorded, what is skipped."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from recommender import config, environment, gate, manifest, registry, storage
from recommender.checks import Verdict
from recommender.lineage import identity, predecessor
from recommender.locations import Locations, join
from recsys_emr import examination

SHOP = config.Recommender(name="shop", description="d", dataset="shop")
PARAMS = {
    "accept_data": None, "retrain_identical": False, "k": 20, "search_trials": 4, "wide_search": False,
    "engine": "auto",
}  # fmt: skip
CODE = {"uri": "s3://work/code/c", "content_hash": "c"}


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    shape = environment.load("aws").shape
    places = Locations(str(tmp_path / "lake"), str(tmp_path / "work"), str(tmp_path / "models"))
    monkeypatch.setattr(environment, "load", lambda: SimpleNamespace(locations=places, shape=shape))
    return places


def date(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def prepare(locations: Locations, snapshot: str, key: str, rows: int = 1_000) -> dict[str, Any]:
    """Write the dataset of a run and return what ``resolve_run`` would."""
    run = locations.run("shop", date(snapshot), key)
    profile = {
        "stages": [{"stage": "parsed", "rows": rows}],
        "users": 100, "items": 50,
        "windows": {"train": {"rows": 500, "top_item_rows": 10}, "validation": {"rows": 50}, "test": {"items": 40}},
        "cold": {"test": {"items": 5}},
        "duplicates": {"share": 0.1}, "verified": {"share": None},
        "days": {"first_date": "2017-01-01", "rows": [30] * 300},
        "settings": {"seconds": 1},
    }  # fmt: skip
    storage.write_json(join(run.dataset, "profile.json"), profile)
    return {"snapshot": snapshot, "run_key": key, "dataset": run.dataset, "checks": run.checks}


def decide(locations: Locations, snapshot: str, key: str, hour: int = 0) -> None:
    moment = dt.datetime(2018, 1, 1, hour, tzinfo=dt.UTC)
    attempt = gate.Attempt("shop", date(snapshot), key, 20, moment)
    registry.record_decision(locations, gate.decide({}, gate.Policy(), attempt, None))


def found(locations: Locations, snapshot: str, key: str) -> str | None:
    previous = predecessor.find(locations, "shop", date(snapshot), key)
    return previous.run_key if previous else None


def test_the_previous_run_is_the_newest_decided_one_of_no_newer_snapshot(
    locations: Locations,
) -> None:
    assert found(locations, "2017-11-30", "now") is None
    for snapshot, key, hour in [
        ("2017-10-31", "october", 9),  # decided last, but older data
        ("2017-11-30", "again", 5),
        ("2017-11-30", "november", 3),
        ("2017-12-31", "december", 1),  # the future of a backfill
        ("2017-11-30", "now", 8),  # this run's own record, from before a Clear
    ]:
        prepare(locations, snapshot, key)
        decide(locations, snapshot, key, hour)
    prepare(locations, "2017-11-30", "blocked")  # preprocessed, never decided
    assert found(locations, "2017-11-30", "now") == "again"
    assert found(locations, "2017-12-31", "x") == "december"
    assert found(locations, "2017-10-31", "x") == "october"
    assert found(locations, "2017-09-30", "x") is None


def test_a_record_without_a_profile_and_a_foreign_file_are_passed_over(
    locations: Locations,
) -> None:
    prepare(locations, "2017-10-31", "october")
    decide(locations, "2017-10-31", "october")
    decide(locations, "2017-11-30", "cleaned-up")
    storage.write(join(locations.decisions("shop"), "2017-11-30", "x.json"), b"{}")
    storage.write(join(locations.decisions("shop"), "notes", "x.json"), b"{}")
    assert found(locations, "2017-12-31", "now") == "october"


def test_data_that_differs_too_much_blocks_the_run_and_is_recorded(locations: Locations) -> None:
    prepare(locations, "2017-10-31", "before")
    decide(locations, "2017-10-31", "before")
    run = prepare(locations, "2017-11-30", "now", rows=500)
    document = examination.check_data(SHOP, run, PARAMS)
    stored = storage.read_json(join(run["checks"], "checks.json"))
    assert Verdict.from_json(stored).outcome == "blocked"
    assert document == {**stored, "uri": join(run["checks"], "checks.json")}
    with pytest.raises(
        AirflowFailException, match=r"500, before 1,000 \(-50.0%\).*'Accept the data'"
    ):
        examination.require_good_data(document)
    accepted = examination.check_data(SHOP, run, {**PARAMS, "accept_data": "a shop was closed"})
    examination.require_good_data(accepted)
    assert accepted["accepted"] == "a shop was closed"
    assert Verdict.from_json(storage.read_json(accepted["uri"])).outcome == "accepted"


def test_a_profile_without_numbers_fails_for_good(locations: Locations) -> None:
    run = prepare(locations, "2017-11-30", "now")
    storage.write_json(join(run["dataset"], "profile.json"), {"stages": []})
    with pytest.raises(AirflowFailException, match=r"profile\.json: the profile cannot be read"):
        examination.check_data(SHOP, run, PARAMS)


def seal_dataset(run: dict[str, Any], *, rows: bytes = b"rows", name: str = "part-1") -> str:
    """Seal a dataset of one table; return the hash of its content."""
    storage.delete_prefix(join(run["dataset"], "train"))
    storage.write(join(run["dataset"], "train", f"{name}.parquet"), rows)
    return identity.content(manifest.seal(run["dataset"], "dataset"))


def publish_champion(locations: Locations, about: dict[str, Any]) -> None:
    uri = locations.version("shop", "2017-10-31-00")
    storage.write(join(uri, "als/x.npy"), b"x")
    manifest.seal(uri, "version", about)
    champion = gate.ChampionRef(
        "2017-10-31-00", date("2017-10-31"), uri, "00", "before", "2017-11-01T00:00:00+00:00", None
    )
    storage.write_json(locations.champion("shop"), champion.to_json())


def about(content: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "code_hash": "c",
        "settings": {"search": {"trials": 4}},
        "engine": {"engine": "implicit"},
        "lineage": {"dataset": {"content": content}, "settings": {"k": 20}},
    }
    return {**found, **changes}


def test_training_is_skipped_only_where_it_would_repeat_the_champions(
    locations: Locations, caplog: pytest.LogCaptureFixture
) -> None:
    run = prepare(locations, "2017-11-30", "now")
    content = seal_dataset(run)
    assert examination.is_new(SHOP, run, CODE, PARAMS)  # no champion yet
    publish_champion(locations, about(content))
    seal_dataset(run, name="part-another-name")
    assert not examination.is_new(SHOP, run, CODE, PARAMS)
    assert "nothing to train: data, code and settings are those of champion 2017-10-31-00" in (
        caplog.text
    )
    assert examination.is_new(SHOP, run, CODE, {**PARAMS, "retrain_identical": True})
    assert examination.is_new(SHOP, run, CODE, {**PARAMS, "k": 10})
    assert not examination.is_new(SHOP, run, CODE, {**PARAMS, "engine": "implicit"})
    assert examination.is_new(SHOP, run, CODE, {**PARAMS, "engine": "spark"})
    assert examination.is_new(SHOP, run, CODE, {**PARAMS, "wide_search": True})
    assert examination.is_new(SHOP, run, CODE, {**PARAMS, "search_trials": None})
    assert examination.is_new(SHOP, run, {**CODE, "content_hash": "d"}, PARAMS)
    seal_dataset(run, rows=b"other rows")
    assert examination.is_new(SHOP, run, CODE, PARAMS)


@pytest.mark.parametrize(
    "unknown",
    [
        {"code_hash": None},
        {"lineage": {}},
        {"settings": {}},
        {"lineage": {"dataset": {}}},
        {"engine": None},
    ],
    ids=json.dumps,
)
def test_what_an_older_version_does_not_tell_counts_as_different(
    locations: Locations, unknown: dict[str, Any]
) -> None:
    run = prepare(locations, "2017-11-30", "now")
    publish_champion(locations, about(seal_dataset(run), **unknown))
    assert examination.is_new(SHOP, run, CODE, PARAMS)


def test_spark_repeats_no_training_for_want_of_a_search_that_it_does_not_have(
    locations: Locations,
) -> None:
    run = prepare(locations, "2017-11-30", "now")
    content = seal_dataset(run)
    spark = {**PARAMS, "engine": "spark"}
    made = about(content, engine={"engine": "spark"}, settings={"search": None})
    publish_champion(locations, made)
    assert not examination.is_new(SHOP, run, CODE, spark)
    assert not examination.is_new(SHOP, run, CODE, {**spark, "search_trials": None})
    assert examination.is_new(SHOP, run, CODE, PARAMS)


def test_no_search_is_a_setting_too(locations: Locations) -> None:
    run = prepare(locations, "2017-11-30", "now")
    publish_champion(locations, about(seal_dataset(run), settings={"search": None}))
    assert not examination.is_new(SHOP, run, CODE, {**PARAMS, "search_trials": None})
    assert examination.is_new(SHOP, run, CODE, PARAMS)

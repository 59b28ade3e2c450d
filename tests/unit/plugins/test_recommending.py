"""Before a cluster makes everyone's lists: whose, for whom, and what is missing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowFailException
from registry_store import NAME, make_run, places, promote

from recommender import config, environment, manifest, registry, storage
from recommender.locations import Locations, join
from recommender.registry import recommendations
from recsys_emr import recommending

SHOP = config.Recommender(name=NAME, description="d", dataset="shop")
OCTOBER, NOVEMBER, DECEMBER = "2017-10-31", "2017-11-30", "2017-12-31"


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    found = places(str(tmp_path))
    monkeypatch.setattr(environment, "load", lambda: SimpleNamespace(locations=found))
    return found


def resolve(version: str | None = None) -> dict[str, Any]:
    run = SimpleNamespace(run_id="asset_triggered__1")
    return recommending.resolve_run(
        SHOP, cast("Any", {"dag_run": run, "params": {"version": version}})
    )


def prepare(locations: Locations, snapshot: str) -> str:
    """Write the dataset of a run, as its preprocessing did; return where."""
    dataset = locations.run(NAME, dt.date.fromisoformat(snapshot), snapshot).dataset
    storage.write(join(dataset, "users", "part-0.parquet"), b"users")
    manifest.seal(dataset, "dataset")
    return dataset


def test_it_is_the_champion_of_this_moment_and_its_own_users(locations: Locations) -> None:
    dataset = prepare(locations, NOVEMBER)
    version = promote(locations, NOVEMBER, NOVEMBER)
    run = resolve()
    assert (run["version"], run["dataset"]) == (version, dataset)
    assert run["version_uri"] == locations.version(NAME, version)
    assert run["output"].startswith(f"{locations.models}/{NAME}/recommendations/runs/")


def test_a_newer_decided_dataset_has_the_users_of_today(locations: Locations) -> None:
    for snapshot in (OCTOBER, NOVEMBER):
        prepare(locations, snapshot)
        promote(locations, snapshot, snapshot)
    first, _ = (v for v in storage.list_children(locations.versions(NAME)))
    newest = prepare(locations, DECEMBER)
    assert resolve(first)["dataset"] != newest  # prepared, but nobody has decided on it
    case = make_run(locations, DECEMBER, DECEMBER)
    registry.record_decision(locations, case.decide(locations))
    run = resolve(first)
    assert (run["version"], run["dataset"]) == (first, newest)


def test_without_a_champion_nothing_is_begun(locations: Locations) -> None:
    with pytest.raises(
        AirflowFailException, match=r"found none: nothing has been promoted.*retrain_shop"
    ):
        resolve()
    assert not storage.list_files(locations.models)


def test_a_dataset_that_has_expired_is_named_before_a_cluster_is_paid_for(
    locations: Locations,
) -> None:
    version = promote(locations, NOVEMBER, NOVEMBER)
    with pytest.raises(
        AirflowFailException,
        match=rf"dataset of version {version} at .*cleaned up\. Run retrain_shop",
    ):
        resolve()


def test_a_half_written_dataset_is_none(locations: Locations) -> None:
    dataset = prepare(locations, NOVEMBER)
    promote(locations, NOVEMBER, NOVEMBER)
    storage.delete(join(dataset, "manifest.json"))
    with pytest.raises(AirflowFailException, match=r"found none: the work area"):
        resolve()


def test_an_unknown_version_is_named(locations: Locations) -> None:
    with pytest.raises(AirflowFailException, match=r"2017-01-31-00000000"):
        resolve("2017-01-31-00000000")


def test_lists_that_come_late_or_twice_move_the_pointer_once(locations: Locations) -> None:
    prepare(locations, OCTOBER)
    promote(locations, OCTOBER, OCTOBER)
    run = resolve()
    storage.write(join(run["output"], "users", "part-0.parquet"), b"lists")
    manifest.seal(run["output"], recommendations.KIND, {"version": run["version"]})
    told = [recommending.publish(SHOP, run) for _ in range(2)]
    assert [one["is_latest"] for one in told] == [True, True]
    latest = recommendations.read(locations, NAME)
    assert latest is not None
    assert (latest.sequence, latest.uri) == (1, run["output"])
    newer = promote(locations, NOVEMBER, NOVEMBER)
    late = recommending.publish(SHOP, run)
    assert (late["is_latest"], late["reason"]) == (
        False, f"the champion is {newer}, these lists are of {run['version']}",
    )  # fmt: skip


def test_unfinished_lists_are_never_pointed_at(locations: Locations) -> None:
    prepare(locations, OCTOBER)
    promote(locations, OCTOBER, OCTOBER)
    run = resolve()
    storage.write(join(run["output"], "users", "part-0.parquet"), b"half of it")
    with pytest.raises(AirflowFailException, match=r"manifest"):
        recommending.publish(SHOP, run)
    assert recommendations.read(locations, NAME) is None

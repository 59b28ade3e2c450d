"""The pointer to everyone's lists: the champion's alone, complete, whoever was first."""

from __future__ import annotations

import datetime as dt

import pytest
from registry_store import NAME, places, promote, request

from recommender import manifest, registry, storage
from recommender.errors import ManifestError
from recommender.locations import Locations, join
from recommender.registry import changes, recommendations
from recommender.registry.recommendations import KEPT, Outcome

NOW = dt.datetime(2018, 2, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def locations(root: str) -> Locations:
    return places(root)


def write_lists(locations: Locations, run: str, version: str) -> str:
    """Do what the job does, in short."""
    uri = locations.recommendation_run(NAME, run)
    storage.write(join(uri, "users/part-00000.parquet"), b"lists")
    manifest.seal(uri, recommendations.KIND, {"version": version})
    return uri


def publish(locations: Locations, run: str, version: str) -> Outcome:
    uri = write_lists(locations, run, version)
    return recommendations.publish(locations, NAME, uri, run, NOW)


def test_readers_are_led_to_the_champions_newest_lists(locations: Locations) -> None:
    assert recommendations.read(locations, NAME) is None
    version = promote(locations, "2017-12-31")
    for number, run in enumerate(("first", "second"), 1):
        assert publish(locations, run, version).withheld == ""
        latest = recommendations.read(locations, NAME)
        assert latest is not None
        assert (latest.sequence, latest.run_key, latest.version) == (number, run, version)
        digest = storage.sha256(join(latest.uri, "manifest.json"))
        assert latest.manifest_sha256 == digest


def test_lists_of_a_version_that_was_left_do_not_come_back(locations: Locations) -> None:
    old, new = promote(locations, "2017-11-30", "a"), promote(locations, "2017-12-31", "b")
    publish(locations, "of the new", new)
    changes.roll_back(locations, request())
    after = publish(locations, "of the new, once more", new)
    assert after.withheld == f"the champion is {old}, these lists are of {new}"
    assert after.latest is not None
    assert after.latest.run_key == "of the new"
    assert publish(locations, "of the old", old).withheld == ""


def test_a_repetition_changes_nothing_and_finishes_what_was_to_go(locations: Locations) -> None:
    version = promote(locations, "2017-12-31")
    runs = [f"run-{n}" for n in range(KEPT + 2)]
    for run in runs:
        publish(locations, run, version)
    latest = recommendations.read(locations, NAME)
    assert latest is not None
    folder = join(locations.recommendations(NAME), "runs")
    assert storage.list_children(folder) == runs[-KEPT:]
    assert latest.kept == tuple(
        locations.recommendation_run(NAME, run) for run in runs[-2 : -KEPT - 1 : -1]
    )
    # Killed after the pointer and before the deletion: the retry deletes.
    write_lists(locations, runs[1], version)
    again = recommendations.publish(locations, NAME, latest.uri, runs[-1], NOW)
    assert again.latest == latest
    assert storage.list_children(folder) == runs[-KEPT:]


def test_a_rival_that_pointed_meanwhile_is_seen(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = promote(locations, "2017-12-31")
    publish(locations, "first", version)
    champion, pending = registry.read_champion, ["rival"]

    def interrupted(at: Locations, name: str) -> object:
        found = champion(at, name)
        if pending:
            publish(at, pending.pop(), version)
        return found

    monkeypatch.setattr(recommendations, "read_champion", interrupted)
    publish(locations, "mine", version)
    latest = recommendations.read(locations, NAME)
    assert latest is not None
    assert (latest.sequence, latest.run_key) == (3, "mine")
    assert latest.kept == tuple(
        locations.recommendation_run(NAME, run) for run in ("rival", "first")
    )


def test_unfinished_lists_and_a_foreign_pointer_are_refused(locations: Locations) -> None:
    version = promote(locations, "2017-12-31")
    uri = write_lists(locations, "torn", version)
    storage.delete(join(uri, "manifest.json"))
    with pytest.raises(ManifestError, match="expected a finished recommendations"):
        recommendations.publish(locations, NAME, uri, "torn", NOW)
    storage.write_json(locations.latest_recommendations(NAME), {"format": 2})
    with pytest.raises(ManifestError, match="is not a pointer to recommendations"):
        recommendations.read(locations, NAME)

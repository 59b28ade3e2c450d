"""The registry: one winner, immutable versions, and a whole champion after any crash."""

from __future__ import annotations

import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registry_store import NAME, champion, make_run, places, promote

from recommender import manifest, registry, storage
from recommender.errors import ConflictError, ManifestError, NotFoundError, ReportError
from recommender.gate import Decision, StageCost
from recommender.locations import MANIFEST, join


def test_first_promotion_publishes_a_whole_version_and_points_at_it(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30")
    decision = case.decide(locations)
    published = case.publish(locations, decision)
    assert published.champion_moved
    assert published.version.startswith("2017-11-30-")
    version = registry.load_version(locations, NAME, published.version)
    assert set(version.files) == {
        "als/item_factors.npy",
        "users.parquet",
        "report.json",
        "decision.json",
    }
    factors = storage.read(join(published.uri, "als/item_factors.npy")).data
    assert factors == b"factors of run"
    stored = storage.read_json(join(published.uri, "decision.json"))
    assert Decision.from_json(stored) == decision
    about = version.about
    assert (about["verdict"], about["fit_until"], about["snapshot"]) == (
        "promoted",
        1,
        "2017-11-30",
    )
    assert about["metrics"]["als"]["recall"] == 0.2
    assert champion(locations).version == published.version
    assert champion(locations).previous is None


def test_no_champion_before_the_first_promotion(root: str) -> None:
    assert registry.read_champion(places(root), NAME) is None
    assert registry.load_champion(places(root), NAME) is None


def test_newer_version_replaces_and_names_the_one_before(root: str) -> None:
    locations = places(root)
    first = promote(locations, "2017-11-30", "a")
    second = promote(locations, "2017-12-31", "b")
    assert (champion(locations).version, champion(locations).previous) == (second, first)
    registry.load_version(locations, NAME, first)


def test_older_snapshot_is_published_and_the_pointer_stays(root: str) -> None:
    locations = places(root)
    newest = promote(locations, "2017-12-31", "a")
    before = storage.read(locations.champion(NAME))
    case = make_run(locations, "2017-11-30", "b")
    published = case.publish(locations, case.decide(locations))
    assert not published.champion_moved
    assert registry.load_version(locations, NAME, published.version).about["verdict"] == (
        "registered"
    )
    assert storage.read(locations.champion(NAME)) == before
    assert champion(locations).version == newest


@pytest.mark.parametrize("order", [1, -1])
def test_backfill_in_either_direction_ends_with_the_newest_champion(root: str, order: int) -> None:
    locations = places(root)
    dates = ["2017-10-31", "2017-11-30", "2017-12-31"][::order]
    for date in dates:
        promote(locations, date, f"backfill-{date}")
    assert len(storage.list_children(locations.versions(NAME))) == 3
    assert champion(locations).snapshot == dt.date(2017, 12, 31)


def test_forced_older_snapshot_replaces(root: str) -> None:
    locations = places(root)
    promote(locations, "2017-12-31", "a")
    forced = promote(locations, "2017-11-30", "b", allow_replace_newer=True)
    assert champion(locations).version == forced


def test_refusals_are_recorded_and_never_published(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30", recall=0.05)
    decision = case.decide(locations)
    uri = registry.record_decision(locations, decision)
    assert uri == registry.record_decision(locations, decision)
    assert uri.endswith("/shop/decisions/2017-11-30/run.json")
    assert Decision.from_json(storage.read_json(uri)) == decision
    with pytest.raises(ValueError, match="expected a promoted or registered candidate"):
        case.publish(locations, decision)
    assert storage.list_children(locations.versions(NAME)) == []


def test_publishing_twice_is_publishing_once(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30")
    decision = case.decide(locations)
    first = case.publish(locations, decision)
    pointer = storage.read(locations.champion(NAME))
    assert case.publish(locations, decision) == first
    # Deciding once more finds the own version in place.
    again = case.decide(locations)
    assert again.verdict == "promoted"
    assert case.publish(locations, again) == first
    assert storage.read(locations.champion(NAME)) == pointer


def test_a_repeated_training_that_gives_the_same_model_gives_the_same_version(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30")
    version = case.publish(locations, case.decide(locations)).version
    # Seconds differ, and so does the candidate's manifest; the model does not.
    storage.write_json(join(case.candidate, "summary.json"), {"seconds": 2})
    manifest.seal(case.candidate, "candidate", {"training": {"seconds": 2}})
    again = case.publish(locations, case.decide(locations))
    assert again.version == version
    assert storage.list_children(locations.versions(NAME)) == [version]
    storage.write(join(case.candidate, "als/item_factors.npy"), b"other factors")
    manifest.seal(case.candidate, "candidate")
    with pytest.raises(ReportError, match="Only what was measured is published"):
        case.publish(locations, case.decide(locations))


def test_a_retry_after_being_replaced_changes_nothing(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30", "a")
    decision = case.decide(locations)
    case.publish(locations, decision)
    newer = promote(locations, "2017-12-31", "b")
    assert case.publish(locations, decision).champion_moved
    assert champion(locations).version == newer


def test_a_lost_race_is_a_conflict_and_leaves_no_version(root: str) -> None:
    locations = places(root)
    late = make_run(locations, "2017-11-30", "late")
    decision = late.decide(locations)
    winner = promote(locations, "2017-12-31", "winner")
    with pytest.raises(ConflictError, match=r"expected champion none, .* found 2017-12-31"):
        late.publish(locations, decision)
    assert storage.list_children(locations.versions(NAME)) == [winner]
    again = late.decide(locations)  # older than the winner: nothing to measure again
    assert (again.verdict, again.stale) == ("registered", False)


def test_the_conditional_write_decides_a_race_in_the_last_moment(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(root)
    promote(locations, "2017-10-31", "old")
    slow, fast = (make_run(locations, "2017-12-31", name) for name in ("slow", "fast"))
    decisions = slow.decide(locations), fast.decide(locations)
    write_json = storage.write_json

    def overtaken(uri: str, value: object, **condition: Any) -> str:
        if condition.get("if_match"):  # the slow one's pointer write: the fast one comes first
            monkeypatch.setattr(storage, "write_json", write_json)
            fast.publish(locations, decisions[1])
        return write_json(uri, value, **condition)

    monkeypatch.setattr(storage, "write_json", overtaken)
    with pytest.raises(ConflictError, match="another writer was first"):
        slow.publish(locations, decisions[0])
    assert champion(locations).run_key == "fast"


def test_a_pointer_that_vanished_is_a_conflict(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    locations = places(root)
    promote(locations, "2017-10-31", "old")
    case = make_run(locations, "2017-12-31", "new")
    decision = case.decide(locations)
    write_json = storage.write_json

    def vanished(uri: str, value: object, **condition: Any) -> str:
        if condition.get("if_match"):
            storage.delete_prefix(locations.champion(NAME).rsplit("/", 1)[0])
        return write_json(uri, value, **condition)

    monkeypatch.setattr(storage, "write_json", vanished)
    with pytest.raises(ConflictError, match="found none"):
        case.publish(locations, decision)


def test_sixteen_concurrent_publishers_have_one_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(str(tmp_path))
    cases = [make_run(locations, "2017-11-30", f"run-{n}") for n in range(16)]
    decisions = [case.decide(locations) for case in cases]
    start = threading.Barrier(len(cases))
    write_json = storage.write_json

    def together(uri: str, value: object, **condition: Any) -> str:
        if uri == locations.champion(NAME):  # all have looked, none has written
            start.wait(timeout=60)
        return write_json(uri, value, **condition)

    monkeypatch.setattr(storage, "write_json", together)

    def race(number: int) -> str:
        try:
            return cases[number].publish(locations, decisions[number]).version
        except ConflictError:
            return "conflict"

    with ThreadPoolExecutor(len(cases)) as pool:
        results = list(pool.map(race, range(len(cases))))
    assert results.count("conflict") == 15
    winner = next(result for result in results if result != "conflict")
    assert champion(locations).version == winner


def test_sixteen_attempts_of_one_run_agree(tmp_path: Path) -> None:
    # A worker taken for dead that is not: the same publication, overlapping with itself.
    locations = places(str(tmp_path))
    case = make_run(locations, "2017-11-30")
    decision = case.decide(locations)
    start = threading.Barrier(16)

    def attempt(_: int) -> registry.Published:
        start.wait(timeout=60)
        return case.publish(locations, decision)

    with ThreadPoolExecutor(16) as pool:
        results = set(pool.map(attempt, range(16)))
    assert len(results) == 1
    assert champion(locations).version == results.pop().version


def test_a_damaged_candidate_is_not_published(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30")
    decision = case.decide(locations)
    storage.write(join(case.candidate, "als/item_factors.npy"), b"FACTORS of run")
    with pytest.raises(ManifestError, match=r"item_factors\.npy: expected SHA-256"):
        case.publish(locations, decision)
    assert storage.list_children(locations.versions(NAME)) == []
    assert registry.read_champion(locations, NAME) is None


def test_an_unfinished_candidate_is_named(root: str) -> None:
    locations = places(root)
    case = make_run(locations, "2017-11-30")
    decision = case.decide(locations)
    storage.delete_prefix(case.candidate)
    with pytest.raises(ManifestError, match="expected a finished candidate at"):
        case.publish(locations, decision)


def test_only_what_was_measured_is_published(root: str) -> None:
    locations = places(root)
    case, other = (make_run(locations, "2017-11-30", name) for name in ("a", "b"))
    decision = case.decide(locations)
    with pytest.raises(ReportError, match="Only what was measured is published"):
        registry.publish(locations, decision, other.candidate, case.report)
    better = make_run(locations, "2017-11-30", "c", recall=0.3)
    with pytest.raises(ReportError, match="its numbers differ"):
        registry.publish(locations, decision, case.candidate, better.report)


def test_a_copy_that_lost_bytes_is_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(str(tmp_path))
    case = make_run(locations, "2017-11-30")
    decision = case.decide(locations)
    copy = storage.copy

    def torn(source: str, target: str) -> None:
        copy(source, target)
        if target.endswith("users.parquet"):
            storage.write(target, b"use")

    monkeypatch.setattr(storage, "copy", torn)
    with pytest.raises(ManifestError, match=r"users\.parquet: expected 5 bytes, found 3 bytes"):
        case.publish(locations, decision)
    assert registry.read_champion(locations, NAME) is None


def test_a_changed_version_is_noticed_by_its_readers(root: str) -> None:
    locations = places(root)
    version = promote(locations, "2017-11-30")
    uri = locations.version(NAME, version)
    sealed = storage.read_json(join(uri, MANIFEST))
    sealed["about"]["verdict"] = "registered"
    storage.write_json(join(uri, MANIFEST), sealed)
    with pytest.raises(ManifestError, match=r"manifest\.json: expected SHA-256"):
        registry.load_champion(locations, NAME)
    storage.write(join(uri, "users.parquet"), b"USERS")
    with pytest.raises(ManifestError, match=r"users\.parquet: expected SHA-256"):
        registry.load_version(locations, NAME, version)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'"x"', b"not json"])
def test_a_pointer_of_another_kind_is_an_error_that_says_where_to_look(
    root: str, content: bytes
) -> None:
    locations = places(root)
    storage.write(locations.champion(NAME), content)
    with pytest.raises(ManifestError, match=r"expected the champion's record at .*champion\.json"):
        registry.read_champion(locations, NAME)


def test_copy_moves_whole_objects_between_every_pair_of_places(s3: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * (40 << 10)  # 10 MiB: above boto3's threshold for copies in parts
    source, moved = f"{s3}/a b/ü.bin", f"{s3}/c/part=1/x.bin"
    storage.write(source, data)
    storage.copy(source, moved)
    down, across, up = str(tmp_path / "d/x"), str(tmp_path / "e/x"), f"{s3}/back"
    storage.copy(moved, down)
    storage.copy(down, across)
    storage.copy(across, up)
    assert storage.read(up).data == data
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["x"]
    for missing in (f"{s3}/none", str(tmp_path / "none")):
        with pytest.raises(NotFoundError, match="expected a"):
            storage.copy(missing, f"{s3}/x")


def test_champion_record_is_plain_json(tmp_path: Path) -> None:
    locations = places(str(tmp_path))
    case = make_run(locations, "2017-11-30")
    version = case.publish(locations, case.decide(locations)).version
    record = json.loads(Path(locations.champion(NAME)).read_text())
    assert record == {
        "format": 1,
        "version": version,
        "snapshot": "2017-11-30",
        "uri": locations.version(NAME, version),
        "manifest_sha256": storage.sha256(join(locations.version(NAME, version), MANIFEST)),
        "run_key": "run",
        "decided_at": "2018-01-01T00:00:00+00:00",
        "previous": None,
        "sequence": 1,
        "previous_sha256": None,
        "change": {
            "action": "promotion",
            "by": "gate",
            "at": "2018-01-01T00:00:00+00:00",
            "reason": case.decide(locations).reason,
            "versions": [],
        },
        "withdrawn": [],
    }


def test_a_candidate_that_nobody_has_loaded_is_not_published(tmp_path: Path) -> None:
    locations = places(str(tmp_path))
    case = make_run(locations, "2017-11-30")
    decision = replace(case.decide(locations), verification=None)
    with pytest.raises(ReportError, match=r"expected a verification .* run the job verify"):
        case.publish(locations, decision)
    assert registry.read_champion(locations, NAME) is None
    assert storage.list_files(locations.versions(NAME)) == []


def test_a_version_says_which_clusters_made_it_and_what_they_cost(root: str) -> None:
    locations = places(root)
    cost = StageCost("train", 0.5, 1.0, (), "2026-11-01", False, ("j-1", "j-2"))
    version = promote(locations, "2017-12-31", costs=(cost,))
    about = registry.load_version(locations, NAME, version).about
    assert about["cost"] == {"usd": 0.5, "stages": [cost.to_json()]}

"""Retention: what is needed stays, what goes goes whole, and no rival makes a champion of a ruin."""

from __future__ import annotations

from typing import Any

import pytest
from registry_store import NAME, champion, make_run, places, promote, request

from recommender import storage
from recommender.errors import ConflictError, NotFoundError, PrunedError
from recommender.locations import MANIFEST, Locations, join
from recommender.registry import catalogue, changes, pointer, publishing, retention, tombstones
from recommender.registry import versions as versions_room
from recommender.registry.retention import Policy

DATES = [f"2017-{month:02}-28" for month in range(1, 9)]


def eight_champions(locations: Locations) -> list[str]:
    return [promote(locations, date, f"run-{date}") for date in DATES]


def names(locations: Locations) -> list[str]:
    return storage.list_children(locations.versions(NAME))


def test_the_last_versions_the_last_champions_and_the_named_stay(root: str) -> None:
    locations = places(root)
    versions = eight_champions(locations)
    for date in ("2016-10-31", "2016-11-30"):  # registered: older than the champion
        promote(locations, date, f"old-{date}")
    policy = Policy(last=1, champions=2, named=frozenset(versions[:1]))
    planned = retention.plan(locations, NAME, policy)
    assert {f.version.name: f.kept for f in planned if f.kept} == {
        versions[0]: "named",
        versions[5]: "champion before record 7",
        versions[6]: "champion of record 7",
        versions[7]: "champion",
    }
    assert len(names(locations)) == 10  # a plan changes nothing
    done = retention.prune(locations, request("storage"), policy)
    assert [f.kept for f in done] == [f.kept for f in planned]
    assert names(locations) == sorted(f.version.name for f in planned if f.kept)
    assert champion(locations).version == versions[-1]
    assert changes.roll_back(locations, request()).champion.version == versions[-2]


def test_who_when_why_and_what_is_in_the_history_and_the_manifest_outlives_the_files(
    root: str,
) -> None:
    locations = places(root)
    versions = eight_champions(locations)
    sealed = storage.read_json(join(locations.version(NAME, versions[0]), MANIFEST))
    retention.prune(locations, request("storage", "ada"), Policy(last=1, champions=6))
    record = pointer.history(locations, NAME)[-1]
    assert record.change is not None
    assert (record.change.action, record.change.by, record.change.reason) == (
        "prune", "ada", "storage",
    )  # fmt: skip
    assert record.change.versions == (versions[0],)
    assert record.version == versions[-1]
    stone = storage.read_json(locations.tombstone(NAME, record.change.versions[0]))
    assert stone["manifest"] == sealed


def test_prunes_do_not_crowd_champions_out_of_what_a_rollback_needs(root: str) -> None:
    locations = places(root)
    eight_champions(locations)
    retention.prune(locations, request(), Policy(last=1, champions=4))
    retention.prune(locations, request(), Policy(last=1, champions=3))
    kept = names(locations)
    retention.prune(locations, request(), Policy(last=1, champions=3))
    assert names(locations) == kept
    assert len(kept) == 4


def test_nothing_to_prune_writes_nothing(root: str) -> None:
    locations = places(root)
    eight_champions(locations)
    before = storage.read(locations.champion(NAME))
    retention.prune(locations, request(), Policy())
    assert storage.read(locations.champion(NAME)) == before
    assert len(names(locations)) == 8


def test_what_is_unfinished_may_be_under_way_and_stays(root: str) -> None:
    locations = places(root)
    versions = eight_champions(locations)
    storage.write(join(locations.version(NAME, "2017-01-01-deadbeef"), "users.parquet"), b"users")
    storage.write(join(locations.version(NAME, versions[0]), MANIFEST), b"not json")
    done = retention.prune(locations, request(), Policy(last=1, champions=2))
    kept = {f.version.name: f.kept for f in done if f.kept}
    assert kept["2017-01-01-deadbeef"] == "unfinished"
    assert "expected JSON" in kept[versions[0]]
    assert set(names(locations)) == kept.keys()


def test_a_retry_of_a_pruned_run_does_not_bring_half_of_it_back(root: str) -> None:
    locations = places(root)
    eight_champions(locations)
    case = make_run(locations, "2016-12-31", "old")
    decision = case.decide(locations)
    version = case.publish(locations, decision).version
    retention.prune(locations, request("storage"), Policy(last=1, champions=2))
    with pytest.raises(PrunedError, match=rf"{version} was pruned on .* by ada \(storage\)"):
        case.publish(locations, decision)
    with pytest.raises(PrunedError, match="Start a new run"):
        changes.promote(locations, request(), version)
    assert version not in names(locations)


def test_without_a_champion_or_a_whole_history_nothing_is_pruned(root: str) -> None:
    with pytest.raises(NotFoundError, match="Nothing was deleted"):
        retention.prune(places(root), request(), Policy())
    locations = places(root)
    eight_champions(locations)
    with pytest.raises(NotFoundError, match="none named nonsense"):
        retention.plan(locations, NAME, Policy(named=frozenset({"nonsense"})))


@pytest.mark.parametrize("limits", [(0, 5), (5, 1)])
def test_a_policy_that_leaves_nothing_to_roll_back_to_is_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a rollback would have nowhere to go"):
        Policy(*limits)


def interposed(
    monkeypatch: pytest.MonkeyPatch, uri: str, before: Any, *, condition: str = "if_match"
) -> None:
    """Let something happen in the last moment before the next conditional write of a URI."""
    write_json = storage.write_json

    def write(target: str, value: object, **conditions: Any) -> str:
        if target == uri and conditions.get(condition):
            monkeypatch.setattr(storage, "write_json", write_json)
            before()
        return write_json(target, value, **conditions)

    monkeypatch.setattr(storage, "write_json", write)


def test_a_victim_that_is_promoted_in_the_last_moment_is_no_victim(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(root)
    versions = eight_champions(locations)

    def promoted() -> None:
        changes.promote(locations, request(), versions[0])

    interposed(monkeypatch, locations.champion(NAME), promoted)
    retention.prune(locations, request(), Policy(last=1, champions=2))
    assert champion(locations).version == versions[0]  # every file verified
    assert versions[1] not in names(locations)
    # Its tombstone marks nothing, now and when it is champion once more.
    changes.promote(locations, request(), versions[7])
    assert changes.promote(locations, request(), versions[0]).moved


def test_a_promotion_that_is_overtaken_by_a_prune_is_refused(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(root)
    versions = eight_champions(locations)

    def pruned() -> None:
        retention.prune(locations, request(), Policy(last=1, champions=2))

    interposed(monkeypatch, locations.champion(NAME), pruned)
    with pytest.raises(ConflictError, match="another writer was first"):
        changes.promote(locations, request(), versions[0])
    with pytest.raises(PrunedError):
        changes.promote(locations, request(), versions[0])
    assert champion(locations).version == versions[7]


def test_a_publication_that_is_overtaken_by_a_prune_leaves_no_sealed_ruin(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The version is there; its run's retry has just found it whole when the prune comes.
    locations = places(root)
    eight_champions(locations)
    case = make_run(locations, "2016-12-31", "old")
    decision = case.decide(locations)
    version = case.publish(locations, decision).version
    uri = locations.version(NAME, version)
    check = versions_room.ensure_version

    def then_pruned(*arguments: Any) -> str:
        retention.prune(locations, request(), Policy(last=1, champions=2))
        return check(*arguments)

    monkeypatch.setattr(publishing, "ensure_version", then_pruned)
    with pytest.raises(PrunedError):
        case.publish(locations, decision)
    assert not storage.exists(join(uri, MANIFEST))
    # What it copied is left, unsealed; the next prune finishes it.
    monkeypatch.setattr(publishing, "ensure_version", check)
    retention.prune(locations, request(), Policy(last=1, champions=2))
    assert version not in names(locations)


def test_two_prunes_at_once_finish_and_keep_what_each_has_to_keep(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(root)
    versions = eight_champions(locations)

    def other() -> None:
        retention.prune(locations, request("other"), Policy(last=3, champions=4))

    interposed(monkeypatch, locations.champion(NAME), other)
    retention.prune(locations, request("mine"), Policy(last=1, champions=4))
    assert champion(locations).version == versions[7]
    assert versions[0] not in names(locations)
    pointer.history(locations, NAME)


def test_a_claim_that_lost_its_race_marks_nothing_and_a_later_one_does(root: str) -> None:
    locations = places(root)
    versions = eight_champions(locations)
    tombstones.write(locations, NAME, versions[0], 9, None)  # died before record 9
    promote(locations, "2017-09-30", "run-9")  # which is another one's now
    seen = pointer.read(locations, NAME)
    assert tombstones.burial(locations, NAME, versions[0], seen) is None
    retention.prune(locations, request(), Policy(last=1, champions=2))
    seen = pointer.read(locations, NAME)
    assert tombstones.burial(locations, NAME, versions[0], seen) is not None
    assert storage.read_json(locations.tombstone(NAME, versions[0]))["claims"] == [9, 10]


def test_catalogue_tells_unfinished_from_damaged_and_names_what_is_near(root: str) -> None:
    locations = places(root)
    version = promote(locations, "2017-11-30")
    storage.write(join(locations.version(NAME, "2017-12-31-00000000"), "users.parquet"), b"users")
    found = {v.name: v for v in catalogue.versions(locations, NAME)}
    files = storage.list_files(locations.version(NAME, version))
    assert found[version].size == sum(f.size for f in files if not f.uri.endswith(MANIFEST))
    assert found["2017-12-31-00000000"].problem == "unfinished"
    with pytest.raises(NotFoundError, match=f"the newest are: {version}"):
        catalogue.known_version(locations, NAME, "2017")

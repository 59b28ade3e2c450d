"""Moving the champion by hand: conditional, explained, repeatable, and never undone by a retry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from registry_store import NAME, Case, champion, make_run, places, promote, request

from recommender import registry, storage
from recommender.errors import ConflictError, ManifestError, NotFoundError
from recommender.gate import ChampionRef, Change
from recommender.locations import Locations, join
from recommender.registry import changes, pointer


def three_champions(locations: Locations) -> list[str]:
    dates = ("2017-10-31", "2017-11-30", "2017-12-31")
    return [promote(locations, date, f"run-{date}") for date in dates]


def test_rollback_returns_to_the_champion_before_and_records_who_when_and_why(root: str) -> None:
    locations = places(root)
    _, second, third = three_champions(locations)
    changed = changes.roll_back(locations, request("lists look odd", "ada"))
    assert (changed.before.version, changed.champion.version) == (third, second)
    assert champion(locations) == changed.champion
    assert changed.champion.change == Change(
        "rollback", "ada", "2018-02-01T12:00:00+00:00", "lists look odd"
    )
    assert changed.champion.withdrawn == ("run-2017-12-31",)


def test_a_second_rollback_goes_further_back_and_never_to_what_was_withdrawn(root: str) -> None:
    locations = places(root)
    first, _, _ = three_champions(locations)
    changes.roll_back(locations, request())
    assert changes.roll_back(locations, request()).champion.version == first
    with pytest.raises(NotFoundError, match="found none that was not rolled back"):
        changes.roll_back(locations, request())
    assert champion(locations).version == first


def test_a_rollback_that_names_what_it_leaves_is_done_once(root: str) -> None:
    locations = places(root)
    _, second, third = three_champions(locations)
    assert changes.roll_back(locations, request(), leave=third).moved
    again = changes.roll_back(locations, request(), leave=third)
    assert (again.moved, again.champion.version) == (False, second)
    assert champion(locations).sequence == 4


def test_a_rollback_of_what_is_not_champion_changes_nothing(root: str) -> None:
    locations = places(root)
    first, second, third = three_champions(locations)
    with pytest.raises(ConflictError, match=f"expected champion {second}, found {third}"):
        changes.roll_back(locations, request(), leave=second)
    with pytest.raises(ConflictError, match=f"expected champion {second}, found {third}"):
        changes.promote(locations, request(), first, expected=second)
    assert champion(locations).version == third


def test_a_retry_of_the_run_that_was_rolled_back_does_not_promote_it_again(root: str) -> None:
    locations = places(root)
    first = promote(locations, "2017-11-30", "a")
    case = make_run(locations, "2017-12-31", "b")
    decision = case.decide(locations)
    version = case.publish(locations, decision).version
    changes.roll_back(locations, request())
    retried = case.publish(locations, decision)
    assert not retried.champion_moved
    assert f"recsys promote {version}" in retried.withheld
    # The whole run once more, against the champion of today: a promotion by the gate's rules.
    again = make_run(locations, "2017-12-31", "b", recall=0.3)
    verdict = again.decide(locations)
    assert verdict.verdict == "promoted"
    assert not again.publish(locations, verdict).champion_moved
    assert champion(locations).version == first


def test_a_new_run_is_promoted_after_a_rollback(root: str) -> None:
    locations = places(root)
    three_champions(locations)
    changes.roll_back(locations, request())
    newest = promote(locations, "2017-12-31", "fixed")
    assert champion(locations).version == newest
    assert champion(locations).withdrawn == ("run-2017-12-31",)


def test_a_promotion_by_hand_brings_back_what_was_withdrawn(root: str) -> None:
    locations = places(root)
    _, _, third = three_champions(locations)
    changes.roll_back(locations, request())
    changed = changes.promote(locations, request("it was the shop, not the model"), third)
    assert (changed.champion.version, changed.champion.withdrawn) == (third, ())
    assert champion(locations).change == Change(
        "manual", "ada", "2018-02-01T12:00:00+00:00", "it was the shop, not the model"
    )
    assert not changes.promote(locations, request(), third).moved
    assert champion(locations).sequence == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda locations, version: changes.promote(locations, request(), version),
        lambda locations, version: changes.roll_back(locations, request(), target=version),
    ],
    ids=["promote", "rollback"],
)
def test_a_damaged_version_does_not_become_champion_by_hand(
    root: str, change: Callable[[Locations, str], object]
) -> None:
    locations = places(root)
    _, second, third = three_champions(locations)
    storage.write(join(locations.version(NAME, second), "users.parquet"), b"USERS")
    with pytest.raises(ManifestError, match=r"users\.parquet: expected SHA-256"):
        change(locations, second)
    assert champion(locations).version == third


def test_a_change_that_is_overtaken_is_a_conflict(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = places(root)
    three_champions(locations)
    write_json = storage.write_json

    def overtaken(uri: str, value: object, **condition: Any) -> str:
        if condition.get("if_match"):
            monkeypatch.setattr(storage, "write_json", write_json)
            promote(locations, "2018-01-31", "nightly")
        return write_json(uri, value, **condition)

    monkeypatch.setattr(storage, "write_json", overtaken)
    with pytest.raises(ConflictError, match="another writer was first"):
        changes.roll_back(locations, request())
    assert champion(locations).run_key == "nightly"


def test_a_decision_on_a_champion_that_came_back_is_no_decision_on_today(root: str) -> None:
    # A, B, and A again by rollback: the version is the same, the record is not.
    locations = places(root)
    promote(locations, "2017-10-31", "a")
    late = make_run(locations, "2017-12-31", "late")
    decision = late.decide(locations)
    promote(locations, "2017-11-30", "b")
    changes.roll_back(locations, request())
    with pytest.raises(ConflictError, match="decide again"):
        late.publish(locations, decision)
    assert late.publish(locations, late.decide(locations)).champion_moved


def test_nothing_is_moved_without_a_reason_or_a_champion(root: str) -> None:
    with pytest.raises(ValueError, match="expected a reason"):
        request(" ")
    with pytest.raises(NotFoundError, match="expected a champion of shop"):
        changes.roll_back(places(root), request())


def test_the_history_is_a_chain_of_everything_that_happened(root: str) -> None:
    locations = places(root)
    first, second, third = three_champions(locations)
    changes.roll_back(locations, request())
    changes.promote(locations, request(), first)
    records = pointer.history(locations, NAME)
    assert [r.version for r in records] == [first, second, third, second, first]
    assert [r.sequence for r in records] == [1, 2, 3, 4, 5]
    assert [r.change.action for r in records if r.change] == (
        ["promotion"] * 3 + ["rollback", "manual"]
    )
    assert pointer.history(locations, NAME, 2) == records[-2:]


def test_a_history_that_was_written_to_is_refused_by_name(root: str) -> None:
    locations = places(root)
    three_champions(locations)
    uri = locations.champion_record(NAME, 2)
    original = storage.read_json(uri)
    storage.write_json(uri, {**original, "run_key": "forged"})
    with pytest.raises(ManifestError, match="is no chain: record 3 names"):
        pointer.history(locations, NAME)
    storage.delete(uri)
    with pytest.raises(ManifestError, match=r"champions/00000002\.json, found none"):
        pointer.history(locations, NAME)


def test_a_deleted_pointer_is_not_taken_for_a_first_run(root: str) -> None:
    locations = places(root)
    promote(locations, "2017-10-31", "a")
    storage.delete(locations.champion(NAME))
    case = make_run(locations, "2017-12-31", "b")
    with pytest.raises(ManifestError, match="the pointer was deleted"):
        case.publish(locations, case.decide(locations))


def test_a_pointer_of_before_there_was_a_history_is_read_and_replaced(root: str) -> None:
    locations = places(root)
    old = promote(locations, "2017-10-31", "a")
    document = storage.read_json(locations.champion(NAME))
    kept = {"format", "version", "snapshot", "uri", "manifest_sha256", "run_key", "decided_at"}
    storage.write_json(
        locations.champion(NAME), {**{k: document[k] for k in kept}, "previous": "2017-09-30-0"}
    )
    assert changes.target_of_rollback(locations, NAME) == (old, "2017-09-30-0")
    storage.delete(locations.champion_record(NAME, 1))
    newer = promote(locations, "2017-11-30", "b")
    assert [r.version for r in pointer.history(locations, NAME)] == [old, newer]
    assert changes.roll_back(locations, request()).champion.version == old


def test_every_write_of_the_pointer_names_its_condition(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a bucket policy that allows only conditional writes to the pointer would see.
    locations = places(s3)
    writes: list[dict[str, Any]] = []
    client = storage.s3_client()
    client.meta.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: writes.append(dict(params))
    )
    three_champions(locations)
    changes.roll_back(locations, request())
    history = [w for w in writes if w["Key"].startswith("models/shop/champion")]
    assert len([w for w in history if w["Key"].endswith("champion.json")]) == 4
    assert all("IfMatch" in w or w.get("IfNoneMatch") == "*" for w in history)


@pytest.mark.parametrize(
    "change",
    [{"sequence": 0}, {"sequence": "1"}, {"withdrawn": [1]}, {"change": {"action": "x"}},
     {"change": {"action": 1, "by": "", "at": "", "reason": ""}}, {"previous_sha256": 1}],
)  # fmt: skip
def test_a_malformed_record_is_refused(root: str, change: dict[str, Any]) -> None:
    locations = places(root)
    promote(locations, "2017-10-31", "a")
    document = champion(locations).to_json() | change
    with pytest.raises(ValueError, match="this is not a champion record"):
        ChampionRef.from_json(document)
    storage.write_json(locations.champion(NAME), document)
    with pytest.raises(ManifestError, match="expected the champion's record"):
        registry.read_champion(locations, NAME)


def test_records_survive_the_way_through_json(root: str) -> None:
    locations = places(root)
    three_champions(locations)
    changes.roll_back(locations, replace(request(), at=dt.datetime(2018, 1, 1, tzinfo=dt.UTC)))
    found = champion(locations)
    assert ChampionRef.from_json(found.to_json()) == found
    case: Case = make_run(locations, "2018-01-31", "next")
    assert case.decide(locations).champion == found

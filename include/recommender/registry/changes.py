"""Move the champion by hand: promote a published version, or roll back to an earlier champion.

Each change is one conditional write over the record that was looked at. Who, when and why stand in
the record itself, which stays in the history. Safe to repeat: a change that names the version it
is about finds itself done.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from recommender import registry, storage
from recommender.errors import ConflictError, NotFoundError
from recommender.gate import ChampionRef, Change
from recommender.locations import MANIFEST, Locations, join
from recommender.registry import catalogue, pointer, tombstones
from recommender.registry.pointer import Pointer


@dataclass(frozen=True)
class Request:
    """Say who asks for a change and why.

    Attributes:
        recommender: whose champion.
        by: a person, or the DAG run that acts for one.
        reason: why, in a sentence; it may not be empty.
        at: when, with a time zone.
    """

    recommender: str
    by: str
    reason: str
    at: dt.datetime

    def __post_init__(self) -> None:
        """Refuse a change that nobody could explain later."""
        if not self.reason.strip() or not self.by.strip():
            message = "expected a reason and who asks for the change, found nothing"
            raise ValueError(message)

    def change(self, action: str) -> Change:
        """Return what the pointer's record keeps of the request."""
        at = self.at.astimezone(dt.UTC).isoformat(timespec="seconds")
        return Change(action, self.by.strip(), at, self.reason.strip())


@dataclass(frozen=True)
class Changed:
    """Say what a change came to.

    Attributes:
        champion: the champion now.
        before: the champion that was replaced; the same if nothing had to change.
        moved: whether this call moved the pointer.
    """

    champion: ChampionRef
    before: ChampionRef
    moved: bool


def promote(
    locations: Locations, request: Request, version: str, *, expected: str | None = None
) -> Changed:
    """Make a published version champion, whatever the gate said, once every file is verified.

    Args:
        locations: where the model store is.
        request: who asks, and why.
        version: the version to promote.
        expected: the champion that has to be in place; None for the one that is.

    Raises:
        ConflictError: the champion is not the expected one, or moved meanwhile.
        ManifestError: the version is damaged or unfinished.
        NotFoundError: there is no such version, or no champion yet: the first is the gate's to promote.
        PrunedError: the version is deleted or about to be.
    """
    before = _champion(locations, request.recommender)
    if before.champion.version == version:
        return Changed(before.champion, before.champion, moved=False)
    _expect(before, expected)
    after = _turn_to(locations, request, before, version, "manual")
    restored = tuple(key for key in before.champion.withdrawn if key != after.run_key)
    return _move(locations, request, before, replace(after, withdrawn=restored))


def roll_back(
    locations: Locations,
    request: Request,
    *,
    leave: str | None = None,
    target: str | None = None,
) -> Changed:
    """Return to an earlier champion and withdraw the present one, once every file is verified.

    No retry of the withdrawn version's run promotes it again; ``promote`` does.

    Args:
        locations: where the model store is.
        request: who asks, and why.
        leave: the champion to roll back from; None for the one in place. Named, a repeated call
            finds itself done; not named, it would roll back once more.
        target: the version to return to; None for the last champion that was not withdrawn.

    Raises:
        ConflictError: ``leave`` is not the champion, or the champion moved meanwhile.
        ManifestError: the target is damaged, or the history is.
        NotFoundError: there is no such version, or no earlier champion to return to.
        PrunedError: the target is deleted or about to be.
    """
    before = _champion(locations, request.recommender)
    champion = before.champion
    records = pointer.history(locations, request.recommender)
    if leave and leave != champion.version and _rolled_back_from(records, leave):
        return Changed(champion, champion, moved=False)
    _expect(before, leave)
    after = _turn_to(locations, request, before, target or _earlier_champion(records), "rollback")
    kept = [key for key in champion.withdrawn if key != after.run_key]
    withdrawn = tuple(dict.fromkeys([*kept, champion.run_key]))
    return _move(locations, request, before, replace(after, withdrawn=withdrawn))


def target_of_rollback(
    locations: Locations, recommender: str, target: str | None = None
) -> tuple[str, str]:
    """Say which version a rollback would leave and to which it would return.

    Raises:
        NotFoundError: there is no champion, or none before it.
    """
    before = _champion(locations, recommender)
    records = pointer.history(locations, recommender)
    return before.champion.version, target or _earlier_champion(records)


def _champion(locations: Locations, recommender: str) -> Pointer:
    found = pointer.read(locations, recommender)
    if found is None:
        message = (
            f"expected a champion of {recommender}, found none at {locations.champion(recommender)}: "
            "the first is promoted by the gate, when a run deserves it"
        )
        raise NotFoundError(message)
    return found


def _expect(before: Pointer, expected: str | None) -> None:
    if expected and before.champion.version != expected:
        message = (
            f"expected champion {expected}, found {before.champion.version}: the champion has moved. "
            "Look at it (`recsys champions`) and decide again."
        )
        raise ConflictError(message)


def _rolled_back_from(records: list[ChampionRef], version: str) -> bool:
    """Tell whether the last thing that happened to a former champion was a rollback."""
    for record in reversed(records):
        if record.version == version:
            return False
        if record.previous == version:
            return bool(record.change and record.change.action == "rollback")
    return False


def _earlier_champion(records: list[ChampionRef]) -> str:
    """Return the last champion before the present one that was not withdrawn.

    Raises:
        NotFoundError: there is none.
    """
    present = records[-1]
    for record in reversed(records):
        if record.version != present.version and record.run_key not in present.withdrawn:
            return record.version
    if records[0].previous:  # replaced before there was a history
        return records[0].previous
    message = (
        f"expected a champion before {present.version}, found none that was not rolled back. "
        "`recsys list` shows the versions; `recsys promote VERSION` takes any of them."
    )
    raise NotFoundError(message)


def _turn_to(
    locations: Locations, request: Request, before: Pointer, version: str, action: str
) -> ChampionRef:
    """Verify a version and return the record that points at it."""
    recommender = request.recommender
    # After the pointer was read: whoever prunes writes the tombstone, then the pointer.
    tombstones.refuse(locations, recommender, version, before)
    catalogue.known_version(locations, recommender, version)  # a name that is none is told as one
    about = registry.load_version(locations, recommender, version).about
    uri = locations.version(recommender, version)
    change = request.change(action)
    return ChampionRef(
        version=version,
        snapshot=dt.date.fromisoformat(about["snapshot"]),
        uri=uri,
        manifest_sha256=storage.sha256(join(uri, MANIFEST)),
        run_key=about["run_key"],
        decided_at=change.at,
        previous=before.champion.version,
        sequence=before.champion.sequence + 1,
        previous_sha256=before.sha256,
        change=change,
    )


def _move(locations: Locations, request: Request, before: Pointer, after: ChampionRef) -> Changed:
    pointer.move(locations, request.recommender, before, after)
    return Changed(after, before.champion, moved=True)

"""Delete versions that nobody needs any more, so that a store does not grow by a model a night.

Kept are the champion, every champion of the last records of the history, the newest versions by
snapshot, and whatever is named. All others go, in an order that no crash and no rival can turn into
a champion without files:

1. a tombstone for each version: whoever publishes or promotes looks for it after reading the pointer;
2. a record of the pointer that says so: every rival that read the pointer before has to read again;
3. of each version the manifest, then the files: without a manifest no reader trusts it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from recommender import storage
from recommender.errors import ConflictError, NotFoundError
from recommender.gate import ChampionRef
from recommender.locations import MANIFEST, Locations, join
from recommender.registry import catalogue, pointer, tombstones
from recommender.registry.catalogue import Version
from recommender.registry.changes import Request
from recommender.registry.pointer import Pointer

_ATTEMPTS = 5  # each loss means that the champion moved meanwhile, which is rare
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """Say what is kept beside the champion.

    Attributes:
        last: how many versions, newest snapshot first.
        champions: how many records of the pointer's history keep their versions, so that a
            rollback finds them.
        named: versions to keep, whatever their age.
    """

    last: int = 10
    champions: int = 10
    named: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a policy that would leave nothing to roll back to."""
        if self.last < 1 or self.champions < 2:
            message = (
                "expected to keep 1 version or more and the versions of 2 champion records or more, "
                f"found {self.last} and {self.champions}: a rollback would have nowhere to go"
            )
            raise ValueError(message)


@dataclass(frozen=True)
class Fate:
    """Say what becomes of one version.

    Attributes:
        version: the version.
        kept: why it is kept; empty if it goes.
    """

    version: Version
    kept: str


def plan(locations: Locations, recommender: str, policy: Policy) -> list[Fate]:
    """Say for every version whether it is kept, and why; nothing is changed.

    Raises:
        NotFoundError: there is no champion yet, or a named version is not there.
        ManifestError: the history is damaged: what it refers to is not known.
    """
    seen = pointer.read(locations, recommender)
    referenced = _referenced(locations, recommender, policy)
    found = _versions(locations, recommender, policy)
    whole = [v for v in found if v.manifest]
    newest = sorted(whole, key=lambda v: (v.about.get("snapshot", ""), v.name))[-policy.last :]
    reasons = dict.fromkeys((v.name for v in newest), "among the newest")
    reasons |= dict.fromkeys(policy.named, "named") | referenced
    return [_fate(locations, recommender, v, reasons, seen) for v in found]


def prune(locations: Locations, request: Request, policy: Policy) -> list[Fate]:
    """Delete what ``plan`` does not keep; safe to repeat and against concurrent promotions.

    Returns:
        The plan that was carried out, what an earlier interrupted prune had left included.

    Raises:
        ConflictError: the champion kept moving; nothing has been deleted, try again.
    """
    for _ in range(_ATTEMPTS):
        # The pointer before the plan: what is promoted in between is a conflict, not a victim.
        before = pointer.read(locations, request.recommender)
        fates = plan(locations, request.recommender, policy)
        victims = [fate.version for fate in fates if not fate.kept]
        if not victims or before is None:
            return fates
        try:
            _claim(locations, request, before, victims)
        except ConflictError as error:
            _log.info("%s; planning again", error)
            continue
        for victim in victims:
            _delete(victim)
        return fates
    message = f"the champion of {request.recommender} kept moving; nothing was deleted, prune again"
    raise ConflictError(message)


def _versions(locations: Locations, recommender: str, policy: Policy) -> list[Version]:
    found = catalogue.versions(locations, recommender)
    if missing := policy.named - {version.name for version in found}:
        message = f"expected the versions to keep, found none named {', '.join(sorted(missing))}"
        raise NotFoundError(message)
    return found


def _referenced(locations: Locations, recommender: str, policy: Policy) -> dict[str, str]:
    """Return version -> why the pointer or its history needs it.

    Raises:
        NotFoundError: there is no champion.
    """
    records = _moves(locations, recommender, policy.champions)
    if not records:
        message = (
            f"expected a champion of {recommender}, found none: without one nothing says which "
            "versions are needed. Nothing was deleted."
        )
        raise NotFoundError(message)
    reasons = {}
    for record in records:
        reasons[record.version] = f"champion of record {record.sequence}"
        # Where a rollback would go: of the oldest record seen, the one before it.
        if record.previous:
            reasons.setdefault(record.previous, f"champion before record {record.sequence}")
    return {**reasons, records[-1].version: "champion"}


def _moves(locations: Locations, recommender: str, count: int) -> list[ChampionRef]:
    """Read the last records by which the champion moved: those of prunes do not count."""
    read = count
    while True:
        records = pointer.history(locations, recommender, read)
        moves = [r for r in records if not r.change or r.change.action != "prune"]
        if len(moves) >= count or len(records) < read:
            return moves[-count:]
        read *= 2


def _fate(
    locations: Locations,
    recommender: str,
    version: Version,
    reasons: dict[str, str],
    seen: Pointer | None,
) -> Fate:
    if tombstones.burial(locations, recommender, version.name, seen):
        return Fate(version, "")  # an earlier prune was interrupted: finish it
    # Without a manifest it may be a publication under way.
    return Fate(version, reasons.get(version.name, version.problem))


def _claim(
    locations: Locations, request: Request, before: Pointer, victims: Sequence[Version]
) -> None:
    """Write the tombstones, then a record of the pointer over the one that was planned on.

    Raises:
        ConflictError: the pointer has moved; the tombstones mark nothing.
    """
    recommender, champion = request.recommender, before.champion
    claim = champion.sequence + 1
    for victim in victims:
        sealed = victim.manifest.to_json() if victim.manifest else None
        tombstones.write(locations, recommender, victim.name, claim, sealed)
    names = tuple(victim.name for victim in victims)
    after = replace(
        champion,
        sequence=claim,
        previous_sha256=before.sha256,
        change=replace(request.change("prune"), versions=names),
    )
    pointer.move(locations, recommender, before, after)


def _delete(victim: Version) -> None:
    storage.delete(join(victim.uri, MANIFEST))
    count = storage.delete_prefix(victim.uri)
    _log.info("deleted %s: %d files", victim.name, count + 1)

"""Publish versions and move the champion's pointer, so that a crash leaves the old or the new.

Everything immutable is written first; only then ``champion.json``, the one mutable object, is
replaced by a conditional write. A repeated publication finds what it wrote and goes on from there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from recommender import manifest, storage
from recommender.errors import ConflictError, ManifestError
from recommender.gate import ChampionRef, Change, Decision
from recommender.locations import MANIFEST, Locations, join
from recommender.manifest import Manifest
from recommender.registry import pointer, tombstones
from recommender.registry.pointer import Pointer
from recommender.registry.versions import KIND, check_identity, ensure_version, version_id

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """Say what a publication came to.

    Attributes:
        version: id of the version.
        uri: its directory.
        champion_moved: whether the decision made it champion, now or at an earlier attempt.
        withheld: why the pointer stays although the verdict is a promotion; empty if it does not.
    """

    version: str
    uri: str
    champion_moved: bool
    withheld: str = ""


def read_champion(locations: Locations, recommender: str) -> tuple[ChampionRef, str] | None:
    """Read the pointer and its ETag; None before the first promotion.

    Raises:
        ManifestError: the object is there but is not a champion record.
    """
    found = pointer.read(locations, recommender)
    return (found.champion, found.etag) if found else None


def load_version(locations: Locations, recommender: str, version: str) -> Manifest:
    """Verify every file of a published version and return its manifest.

    Raises:
        ManifestError: names the first file that is missing, changed or not listed.
    """
    uri = locations.version(recommender, version)
    verified = manifest.verify(uri, KIND)
    check_identity(version, verified, uri)
    return verified


def load_champion(locations: Locations, recommender: str) -> tuple[ChampionRef, Manifest] | None:
    """Read the pointer and verify the version it names; None before the first promotion.

    Raises:
        ManifestError: the version is damaged, or is not the one that was promoted.
    """
    found = read_champion(locations, recommender)
    if found is None:
        return None
    champion = found[0]
    uri = locations.version(recommender, champion.version)
    verified = load_version(locations, recommender, champion.version)
    digest = storage.sha256(join(uri, MANIFEST))
    if digest != champion.manifest_sha256:
        message = f"{uri}/{MANIFEST}: expected SHA-256 {champion.manifest_sha256}, found {digest}"
        raise ManifestError(message)
    return champion, verified


def record_decision(locations: Locations, decision: Decision) -> str:
    """Write the record of a run's verdict and return its URI; a retry replaces its own record."""
    attempt = decision.attempt
    uri = locations.decision(attempt.recommender, attempt.snapshot, attempt.run_key)
    storage.write_json(uri, decision.to_json())
    return uri


def publish(
    locations: Locations, decision: Decision, candidate_uri: str, report_uri: str
) -> Published:
    """Publish the candidate that was measured, then make it champion if the verdict says so.

    Safe to repeat after a failure at any point: the same run and candidate give the same version.

    Args:
        locations: where the model store is.
        decision: the verdict, ``promoted`` or ``registered``.
        candidate_uri: directory of the candidate (manifest kind ``candidate``).
        report_uri: directory of the report that was decided on (manifest kind ``report``).

    Raises:
        ConflictError: the champion is not the one decided on; read it and decide again.
        ManifestError: the candidate, the report or the version is damaged.
        ReportError: the report is not the one decided on.
        ValueError: there is nothing to publish: the verdict is ``refused``, or the policy is in
            shadow mode.
    """
    if not decision.acts:
        message = f"expected a promoted or registered candidate, found {decision.headline}: {decision.reason}"
        raise ValueError(message)
    recommender = decision.attempt.recommender
    version = version_id(decision, candidate_uri)
    uri = locations.version(recommender, version)
    promote = decision.verdict == "promoted"
    # Before the copies, so that a race already lost leaves no version behind.
    place = _place(locations, decision, version)
    tombstones.refuse(locations, recommender, version, place.pointer)
    manifest_sha256 = ensure_version(uri, decision, candidate_uri, report_uri)
    place = _place(locations, decision, version)
    # After the pointer was read: whoever prunes writes the tombstone, then the pointer.
    tombstones.refuse_sealed(locations, recommender, version, place.pointer)
    if not place.settled:
        after = _next(locations, decision, version, manifest_sha256, place.pointer)
        pointer.move(locations, recommender, place.pointer, after)
    withheld = place.withheld
    _log.info("%s %s at %s%s", decision.verdict, version, uri, withheld and f": {withheld}")
    return Published(version, uri, champion_moved=promote and not withheld, withheld=withheld)


@dataclass(frozen=True)
class _Place:
    """Say where a publication stands: ``settled`` when the pointer has not to move (any more)."""

    pointer: Pointer | None
    settled: bool = False
    withheld: str = ""


def _place(locations: Locations, decision: Decision, version: str) -> _Place:
    """Compare the pointer with the champion decided on, content by content.

    Its ETag is then the one that the decision rests on, however long ago that was.

    Raises:
        ConflictError: the pointer has moved, and not by an earlier attempt of this promotion.
    """
    recommender = decision.attempt.recommender
    found = pointer.read(locations, recommender)
    champion = found.champion if found else None
    if decision.verdict != "promoted":
        return _Place(found, settled=True)
    if champion and decision.attempt.run_key in champion.withdrawn:
        why = (
            f"a version of run {decision.attempt.run_key} was rolled back; `recsys why {version}` "
            f"says when and why, `recsys promote {version}` makes it champion again"
        )
        return _Place(found, settled=True, withheld=why)
    if champion == decision.champion and not (champion and champion.version == version):
        return _Place(found)
    # A retry may come after later runs have replaced what the first attempt promoted.
    decided = decision.champion.sequence if decision.champion else 0
    since = champion.sequence - decided if champion else 0
    records = pointer.history(locations, recommender, since) if since > 0 else []
    own = {r.version for r in records if r.change is None or r.change.action == "promotion"}
    if champion and version in own | {champion.version}:
        return _Place(found, settled=True)
    decided_on = decision.champion.version if decision.champion else "none"
    message = (
        f"expected champion {decided_on}, as when {version} was decided on, found "
        f"{champion.version if champion else 'none'}: another run was first. Read the champion "
        "and decide again."
    )
    raise ConflictError(message)


def _next(
    locations: Locations,
    decision: Decision,
    version: str,
    manifest_sha256: str,
    before: Pointer | None,
) -> ChampionRef:
    attempt, champion = decision.attempt, before.champion if before else None
    decided_at = decision.to_json()["decided_at"]
    return ChampionRef(
        version=version,
        snapshot=attempt.snapshot,
        uri=locations.version(attempt.recommender, version),
        manifest_sha256=manifest_sha256,
        run_key=attempt.run_key,
        decided_at=decided_at,
        previous=champion.version if champion else None,
        sequence=champion.sequence + 1 if champion else 1,
        previous_sha256=before.sha256 if before else None,
        change=Change("promotion", "gate", decided_at, decision.reason),
        withdrawn=champion.withdrawn if champion else (),
    )

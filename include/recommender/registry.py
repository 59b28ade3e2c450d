"""Publish versions and move the champion's pointer, so that a crash leaves the old or the new.

Everything immutable is written first; only then ``champion.json``, the one mutable object, is
replaced by a conditional write. A repeated publication finds what it wrote and goes on from there.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from recommender import manifest, storage
from recommender.errors import ConflictError, ManifestError, NotFoundError
from recommender.gate import ChampionRef, Decision
from recommender.locations import MANIFEST, Locations, join
from recommender.manifest import Manifest
from recommender.versions import KIND, ensure_version, version_id

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """Say what a publication came to.

    Attributes:
        version: id of the version.
        uri: its directory.
        champion_moved: whether the decision made it champion, now or at an earlier attempt.
    """

    version: str
    uri: str
    champion_moved: bool


def read_champion(locations: Locations, recommender: str) -> tuple[ChampionRef, str] | None:
    """Read the pointer and its ETag; None before the first promotion.

    Raises:
        ManifestError: the object is there but is not a champion record.
    """
    uri = locations.champion(recommender)
    try:
        stored = storage.read(uri)
    except NotFoundError:
        return None
    try:
        return ChampionRef.from_json(json.loads(stored.data)), stored.etag
    except ValueError as error:
        message = (
            f"expected the champion's record at {uri}, found something else: {error}. Restore it: "
            f"{locations.decisions(recommender)} tells which version was promoted last."
        )
        raise ManifestError(message) from error


def load_version(locations: Locations, recommender: str, version: str) -> Manifest:
    """Verify every file of a published version and return its manifest.

    Raises:
        ManifestError: names the first file that is missing or changed.
    """
    return manifest.verify(locations.version(recommender, version), KIND)


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
    version = version_id(decision, candidate_uri)
    uri = locations.version(decision.attempt.recommender, version)
    promote = decision.verdict == "promoted"
    if promote:
        # Before the copies, so that a race already lost leaves no version behind.
        _already_promoted(locations, decision, version)
    manifest_sha256 = ensure_version(uri, decision, candidate_uri, report_uri)
    if promote:
        _move_champion(locations, decision, version, manifest_sha256)
    _log.info("%s %s at %s", decision.verdict, version, uri)
    return Published(version, uri, champion_moved=promote)


def _already_promoted(
    locations: Locations, decision: Decision, version: str
) -> tuple[bool, str | None]:
    """Tell whether this version has been promoted; else give the ETag of the pointer to replace.

    The pointer's content is compared with the champion decided on, so its ETag is the one that
    the decision rests on, however long ago that was. No pointer yet has no ETag.

    Raises:
        ConflictError: the pointer names a third version.
    """
    champion, etag = read_champion(locations, decision.attempt.recommender) or (None, None)
    if champion == decision.champion and not (champion and champion.version == version):
        return False, etag
    # A retry may come after a later run has replaced what the first attempt promoted.
    if champion and version in {champion.version, champion.previous}:
        return True, etag
    decided_on = decision.champion.version if decision.champion else "none"
    found = champion.version if champion else "none"
    message = (
        f"expected champion {decided_on}, as when {version} was decided on, found {found}: "
        "another run was first. Read the champion and decide again."
    )
    raise ConflictError(message)


def _move_champion(
    locations: Locations, decision: Decision, version: str, manifest_sha256: str
) -> None:
    attempt = decision.attempt
    promoted, etag = _already_promoted(locations, decision, version)
    if promoted:
        return
    champion = ChampionRef(
        version=version,
        snapshot=attempt.snapshot,
        uri=locations.version(attempt.recommender, version),
        manifest_sha256=manifest_sha256,
        run_key=attempt.run_key,
        decided_at=decision.to_json()["decided_at"],
        previous=decision.champion.version if decision.champion else None,
    )
    target = locations.champion(attempt.recommender)
    try:
        storage.write_json(target, champion.to_json(), if_absent=etag is None, if_match=etag)
    except (ConflictError, NotFoundError):
        # A write whose answer was lost is sent again by the client and then meets itself. S3
        # answers a conditional write over a vanished object with 404, not 412.
        if not _already_promoted(locations, decision, version)[0]:
            raise

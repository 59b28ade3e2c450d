"""Mark versions that retention deletes, so that nobody publishes or promotes half of one.

A tombstone is written before the first file goes and stays for good. It keeps the version's
manifest: lineage and metrics outlive the files. It names the records of the pointer under which
somebody meant to delete the version, and counts only once such a record is there and lists the
version too: one whose writer lost the race for the pointer (or died before it) marks nothing.
"""

from __future__ import annotations

from typing import Any

from recommender import storage
from recommender.errors import ConflictError, NotFoundError, PrunedError
from recommender.gate import Change
from recommender.locations import MANIFEST, Locations, join
from recommender.registry import pointer
from recommender.registry.pointer import Pointer

_ATTEMPTS = 20  # each loss means that another prune has marked the same version meanwhile


def write(
    locations: Locations,
    recommender: str,
    version: str,
    claim: int,
    manifest: dict[str, Any] | None,
) -> None:
    """Mark a version for the pointer's record that is about to be written.

    Claims are only ever added: whichever of two rivals gets its record written is among them.

    Raises:
        ConflictError: others kept marking it.
    """
    uri = locations.tombstone(recommender, version)
    for _ in range(_ATTEMPTS):
        try:
            stored, etag = _read(uri)
            if claim in stored["claims"]:
                return
            stored = {**stored, "claims": sorted([*stored["claims"], claim])}
            storage.write_json(uri, stored, if_match=etag)
        except NotFoundError:
            document = {"version": version, "claims": [claim], "manifest": manifest}
            try:
                storage.write_json(uri, document, if_absent=True)
            except ConflictError:
                continue
        except ConflictError:
            continue
        return
    message = f"{uri} kept changing: several prunes at once; try again"
    raise ConflictError(message)


def read(locations: Locations, recommender: str, version: str) -> dict[str, Any] | None:
    """Read the tombstone of a version, whether it counts or not; None if there is none."""
    try:
        return _read(locations.tombstone(recommender, version))[0]
    except NotFoundError:
        return None


def burial(
    locations: Locations, recommender: str, version: str, seen: Pointer | None
) -> Change | None:
    """Find out under which change a version was deleted, or is about to be.

    Args:
        locations: where the model store is.
        recommender: whose version.
        version: the version.
        seen: the pointer as read *before*. A claim on a later record does not count: who goes on
            to write the pointer will lose to it.
    """
    try:
        stored, _ = _read(locations.tombstone(recommender, version))
    except NotFoundError:
        return None
    claims = [n for n in stored["claims"] if seen and n <= seen.champion.sequence]
    for record in (pointer.record(locations, recommender, n, seen) for n in claims):
        if record.change and record.change.action == "prune" and version in record.change.versions:
            return record.change
    return None


def refuse(locations: Locations, recommender: str, version: str, seen: Pointer | None) -> None:
    """Refuse to go on with a version that has been pruned; see ``burial``.

    Raises:
        PrunedError: it was, or is about to be.
    """
    found = burial(locations, recommender, version, seen)
    if found:
        message = (
            f"version {version} was pruned on {found.at} by {found.by} ({found.reason}): its files "
            "are deleted and do not come back. Start a new run over its snapshot."
        )
        raise PrunedError(message)


def refuse_sealed(
    locations: Locations, recommender: str, version: str, seen: Pointer | None
) -> None:
    """Refuse as ``refuse`` does, and unseal the version: files may be gone that were just copied.

    Raises:
        PrunedError: it was pruned, or is about to be.
    """
    try:
        refuse(locations, recommender, version, seen)
    except PrunedError:
        storage.delete(join(locations.version(recommender, version), MANIFEST))
        raise


def _read(uri: str) -> tuple[dict[str, Any], str]:
    stored = storage.read(uri)
    return storage.parse_json(stored.data, uri), stored.etag

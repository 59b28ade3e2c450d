"""Read what the model store holds: published versions and recorded decisions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from recommender import manifest, storage
from recommender.errors import ManifestError, NotFoundError, StorageError
from recommender.gate import Decision
from recommender.locations import MANIFEST, Locations, join
from recommender.manifest import Manifest
from recommender.registry.versions import KIND

_THREADS = 16  # each waits on S3 for one small object

Found = TypeVar("Found")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Version:
    """Describe one directory below ``versions/``.

    Attributes:
        name: id of the version.
        uri: its directory.
        manifest: what it says about itself; None while it is unfinished or damaged.
        problem: why there is no manifest; empty if there is one.
    """

    name: str
    uri: str
    manifest: Manifest | None
    problem: str = ""

    @property
    def about(self) -> dict[str, Any]:
        """Return the manifest's facts; nothing without a manifest."""
        return self.manifest.about if self.manifest else {}

    @property
    def size(self) -> int | None:
        """Return the bytes of all its files."""
        return sum(f.size for f in self.manifest.files.values()) if self.manifest else None


def versions(locations: Locations, recommender: str) -> list[Version]:
    """List every version by name (snapshot first), unfinished and damaged ones included.

    Only manifests are read; ``registry.load_version`` verifies the files of one.
    """
    names = storage.list_children(locations.versions(recommender))
    return _each(lambda name: version(locations, recommender, name), names)


def version(locations: Locations, recommender: str, name: str) -> Version:
    """Describe one version; one that is not there is described as unfinished."""
    uri = locations.version(recommender, name)
    try:
        return Version(name, uri, manifest.read(uri, KIND))
    except ManifestError as error:
        unfinished = not storage.exists(join(uri, MANIFEST))
        return Version(name, uri, None, "unfinished" if unfinished else str(error))
    except StorageError as error:
        return Version(name, uri, None, str(error))


def known_version(locations: Locations, recommender: str, name: str) -> Version:
    """Describe a version that has to be whole enough to speak of.

    Raises:
        NotFoundError: there is none of that name; the message lists the nearest.
        ManifestError: it is unfinished or damaged.
    """
    found = version(locations, recommender, name)
    if found.manifest:
        return found
    if found.problem != "unfinished":
        raise ManifestError(found.problem)
    names = storage.list_children(locations.versions(recommender))
    if name in names:
        message = (
            f"expected a finished version at {found.uri}, found one without a {MANIFEST}: its "
            "publication was interrupted. Clear the publish task of its run to finish it."
        )
        raise ManifestError(message)
    known = ", ".join(names[-5:]) or "none"
    message = f"expected a version of {recommender}, found no {name!r}; the newest are: {known}"
    raise NotFoundError(message)


def decisions(locations: Locations, recommender: str) -> list[Decision]:
    """Read every recorded decision, by snapshot, then by time.

    Raises:
        StorageError: a record is not a decision; the message names it.
    """
    records = storage.list_files(locations.decisions(recommender))
    found = _each(lambda file: _decision(file.uri), records)
    return sorted(found, key=lambda d: (d.attempt.snapshot, d.attempt.decided_at))


def decision_of(locations: Locations, recommender: str, run_key: str) -> Decision | None:
    """Find the decision of a run, or return None."""
    for day in storage.list_children(locations.decisions(recommender)):
        uri = locations.decision(recommender, dt.date.fromisoformat(day), run_key)
        try:
            return _decision(uri)
        except NotFoundError:
            continue
    return None


def _decision(uri: str) -> Decision:
    try:
        return Decision.from_json(storage.read_json(uri))
    except ValueError as error:
        message = f"expected a decision at {uri}, found something else: {error}"
        raise StorageError(message) from error


def _each(function: Callable[[Key], Found], keys: Iterable[Key]) -> list[Found]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, keys))

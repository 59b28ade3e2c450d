"""Point readers at the newest complete recommendations of the champion: ``latest.json``.

The lists of a run lie below a directory of their own, complete or absent. The pointer moves by
conditional write, and only to lists of the version that is champion at that moment: after a
rollback, the lists of the version that was left do not come back with a run that was under way.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recommender import manifest, storage
from recommender.errors import ConflictError, ManifestError, NotFoundError
from recommender.locations import MANIFEST, Locations, join
from recommender.registry.publishing import read_champion

KIND = "recommendations"
FORMAT = 1
KEPT = 3
"""Complete outputs that stay for readers who are still at an earlier one."""

_ATTEMPTS = 5  # each loss means that another run has finished meanwhile, which is rare
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latest:
    """Hold what ``latest.json`` says.

    Attributes:
        sequence: number of the record, from 1.
        version: whose lists they are; it was champion when they were finished.
        uri: directory of the lists.
        manifest_sha256: SHA-256 of the directory's ``manifest.json``.
        run_key: the run that made them.
        at: when the pointer was moved, ISO 8601 in UTC.
        kept: earlier directories that are still there, newest first.
        dropped: directories that went, or are going, with this record.
    """

    sequence: int
    version: str
    uri: str
    manifest_sha256: str
    run_key: str
    at: str
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        lists = {"kept": list(self.kept), "dropped": list(self.dropped)}
        return {**asdict(self), **lists, "format": FORMAT}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], uri: str) -> Latest:
        """Parse a stored document.

        Raises:
            ManifestError: it is of another format or malformed.
        """
        try:
            values = dict(document)
            found = values.pop("format")
            kept, dropped = tuple(values.pop("kept")), tuple(values.pop("dropped"))
            latest = cls(kept=kept, dropped=dropped, **values)
        except (KeyError, TypeError, ValueError) as error:
            message = f"{uri} is not a pointer to recommendations: {error!r}"
            raise ManifestError(message) from error
        if found != FORMAT:
            message = f"{uri}: expected format {FORMAT}, found {found!r}"
            raise ManifestError(message)
        return latest


@dataclass(frozen=True)
class Outcome:
    """Say what came of pointing at a run's lists.

    Attributes:
        latest: the pointer now; None before the first.
        withheld: why it does not name this run's lists; empty if it does.
    """

    latest: Latest | None
    withheld: str = ""


def read(locations: Locations, recommender: str) -> Latest | None:
    """Read the pointer; None before the first recommendations.

    Raises:
        ManifestError: the object is there but is no pointer.
    """
    found = _read(locations, recommender)
    return found[0] if found else None


def publish(
    locations: Locations, recommender: str, uri: str, run_key: str, at: dt.datetime
) -> Outcome:
    """Point at a run's lists if they are the champion's; safe to repeat.

    Args:
        locations: where the model store is.
        recommender: whose lists.
        uri: their directory, finished.
        run_key: of the run that made them.
        at: now, with a time zone.

    Raises:
        ManifestError: the lists are unfinished.
        ConflictError: the pointer kept moving.
    """
    version = str(manifest.read(uri, KIND).about["version"])
    digest = hashlib.sha256(storage.read(join(uri, MANIFEST)).data).hexdigest()
    for _ in range(_ATTEMPTS):
        # The pointer before the champion: whoever points for a later champion is a conflict.
        found = _read(locations, recommender)
        before, etag = found or (None, None)
        if why := _not_champion(locations, recommender, version):
            return Outcome(before, why)
        if before and (before.uri, before.manifest_sha256) == (uri, digest):
            _drop(before)
            return Outcome(before)
        after = _next(before, version, uri, digest, run_key, at)
        target = locations.latest_recommendations(recommender)
        try:
            storage.write_json(target, after.to_json(), if_absent=etag is None, if_match=etag)
        except (ConflictError, NotFoundError) as error:
            _log.info("%s; looking again", error)  # perhaps at one's own write: its answer was lost
            continue
        _drop(after)
        return Outcome(after)
    message = f"{locations.latest_recommendations(recommender)} kept moving; try again"
    raise ConflictError(message)


def _read(locations: Locations, recommender: str) -> tuple[Latest, str] | None:
    uri = locations.latest_recommendations(recommender)
    try:
        stored = storage.read(uri)
    except NotFoundError:
        return None
    return Latest.from_json(storage.parse_json(stored.data, uri), uri), stored.etag


def _not_champion(locations: Locations, recommender: str, version: str) -> str:
    current = read_champion(locations, recommender)
    name = current[0].version if current else "none"
    return "" if name == version else f"the champion is {name}, these lists are of {version}"


def _next(
    before: Latest | None, version: str, uri: str, digest: str, run_key: str, at: dt.datetime
) -> Latest:
    earlier = [before.uri, *before.kept] if before else []
    others = [one for one in dict.fromkeys(earlier) if one != uri]
    return Latest(
        sequence=before.sequence + 1 if before else 1,
        version=version,
        uri=uri,
        manifest_sha256=digest,
        run_key=run_key,
        at=at.astimezone(dt.UTC).isoformat(timespec="seconds"),
        kept=tuple(others[: KEPT - 1]),
        dropped=tuple(others[KEPT - 1 :]),
    )


def _drop(latest: Latest) -> None:
    """Delete what the record has dropped: the manifest first, so that nobody trusts the rest."""
    for uri in latest.dropped:
        storage.delete(join(uri, MANIFEST))
        count = storage.delete_prefix(uri)
        _log.info("deleted recommendations %s: %d files", uri, count + 1)

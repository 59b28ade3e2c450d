"""Find the snapshot a run is about: dated folders of the lake, never looked up at parse time.

A snapshot that ``recsys snapshot create`` makes holds ``_uploading.json`` from its first byte on, and
``manifest.json`` as its last: between the two it is not there yet. A snapshot that came by other means
has neither, and is there as soon as it holds a file.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterable
from enum import Enum

from recommender import storage
from recommender.errors import BadDataError, ManifestError, NotFoundError, SnapshotError
from recommender.locations import MANIFEST, UPLOADING, Locations, join
from recommender.manifest import Manifest, is_bookkeeping
from recommender.storage import FileInfo

logger = logging.getLogger(__name__)

KIND = "snapshot"

_NEAREST = 3  # dates named in an error: enough to see a typing mistake, few enough to read


def available(locations: Locations, dataset: str) -> list[dt.date]:
    """List the dates of all snapshots of a dataset, oldest first; other names are ignored."""
    dates = []
    for name in storage.list_children(locations.snapshots(dataset)):
        try:
            dates.append(dt.date.fromisoformat(name))
        except ValueError:
            continue
    return sorted(dates)


class State(Enum):
    """Say what a folder of the lake is: nothing, half a snapshot, or a whole one."""

    ABSENT = "absent"
    UPLOADING = "uploading"
    PLAIN = "no manifest"
    SEALED = "sealed"

    @property
    def may_be_read(self) -> bool:
        """Tell whether a run may read it."""
        return self in {State.PLAIN, State.SEALED}


def state_of(names: Collection[str]) -> State:
    """Tell the state by the names in a snapshot's folder."""
    if MANIFEST in names:
        return State.SEALED
    if UPLOADING in names:
        return State.UPLOADING
    return State.PLAIN if names else State.ABSENT


def state(locations: Locations, dataset: str, date: dt.date) -> State:
    """Look at a snapshot's folder."""
    return state_of(storage.list_children(locations.snapshot(dataset, date)))


def is_present(locations: Locations, dataset: str, date: dt.date) -> bool:
    """Tell whether a snapshot is there, as far as its folder tells, and not still being uploaded."""
    return state(locations, dataset, date).may_be_read


def require_whole(uri: str, listed: Iterable[FileInfo]) -> Manifest | None:
    """Refuse a snapshot whose upload has not ended, or whose files are not those of its manifest.

    Sizes are compared, not content: S3 has checked the content when it came, and reading it twice
    would cost as much as the work itself. ``recsys snapshot verify`` reads it.

    Args:
        uri: directory of the snapshot.
        listed: every file below it.

    Returns:
        its manifest, None for a snapshot without one.

    Raises:
        SnapshotError: it is still being uploaded, or the upload was broken off.
        BadDataError: a file is missing, of another size, or not in the manifest.
    """
    prefix = uri.rstrip("/") + "/"
    sizes = {file.uri.removeprefix(prefix): file.size for file in listed}
    found = state_of(sizes.keys())
    if found is State.UPLOADING:
        message = (
            f"{uri} is still being uploaded, or its upload was broken off ({UPLOADING} is there, no "
            f"{MANIFEST}): wait, or repeat the `recsys snapshot create`, which goes on where it ended"
        )
        raise SnapshotError(message)
    if found is not State.SEALED:
        return None
    manifest = _read_manifest(uri)
    if manifest is None:
        return None
    expected = {name: file.size for name, file in manifest.files.items()}
    stored = {n: size for n, size in sizes.items() if n != MANIFEST and not is_bookkeeping(n)}
    if stored != expected:
        name = min(n for n in expected.keys() | stored.keys() if expected.get(n) != stored.get(n))
        wanted, size = expected.get(name, "no such file"), stored.get(name, "no such file")
        message = (
            f"{prefix}{name}: expected {wanted} by the snapshot's manifest (bytes), found {size}. A "
            "snapshot is never changed: restore it, or upload it again under another date."
        )
        raise BadDataError(message)
    return manifest


def _read_manifest(uri: str) -> Manifest | None:
    """Read a snapshot's manifest; somebody else's file of that name says nothing about it."""
    where = join(uri, MANIFEST)
    try:
        found = Manifest.from_json(storage.read_json(where), where)
    except ManifestError as error:
        logger.warning("read as a snapshot without a manifest: %s", error)
        return None
    except NotFoundError as error:
        message = f"{where} has gone while it was read; a snapshot is never changed"
        raise BadDataError(message) from error
    return found if found.kind == KIND else None


def newest(locations: Locations, dataset: str) -> dt.date:
    """Return the newest snapshot that is not still being uploaded.

    Raises:
        SnapshotError: the dataset has none.
    """
    dates = available(locations, dataset)
    for date in reversed(dates):
        if is_present(locations, dataset, date):
            return date
    if dates:
        message = f"{locations.snapshot(dataset, dates[-1])} is still being uploaded; wait for it"
        raise SnapshotError(message)
    where = locations.snapshots(dataset)
    message = (
        f"expected dated snapshots below {where}/ (such as {where}/2025-12-31/part-0.json.gz), "
        "found none: upload one, or correct `dataset` in the configuration"
    )
    raise SnapshotError(message)


def missing(locations: Locations, dataset: str, date: dt.date) -> SnapshotError:
    """Return the error for a snapshot that is not there; it names the nearest that are."""
    dates = sorted(available(locations, dataset), key=lambda other: abs((other - date).days))
    nearest = ", ".join(sorted(other.isoformat() for other in dates[:_NEAREST]))
    found = f"the nearest are {nearest}" if nearest else "the dataset has no snapshot at all"
    where = locations.snapshot(dataset, date)
    if state(locations, dataset, date) is State.UPLOADING:
        return SnapshotError(f"expected a snapshot at {where}/, found one that is still uploading")
    return SnapshotError(f"expected a snapshot at {where}/, found none; {found}")


def parse_date(text: str) -> dt.date:
    """Parse a snapshot's date.

    Raises:
        SnapshotError: it is not an ISO date.
    """
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError as error:
        message = f"expected the snapshot as YYYY-MM-DD, found {text!r}"
        raise SnapshotError(message) from error

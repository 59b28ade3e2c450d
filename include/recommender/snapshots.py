"""Find the snapshot a run is about: dated folders of the lake, never looked up at parse time."""

from __future__ import annotations

import datetime as dt

from recommender import storage
from recommender.errors import SnapshotError
from recommender.locations import Locations

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


def is_present(locations: Locations, dataset: str, date: dt.date) -> bool:
    """Tell whether a snapshot holds at least one file."""
    return bool(storage.list_children(locations.snapshot(dataset, date)))


def newest(locations: Locations, dataset: str) -> dt.date:
    """Return the newest snapshot.

    Raises:
        SnapshotError: the dataset has none.
    """
    dates = available(locations, dataset)
    if not dates:
        where = locations.snapshots(dataset)
        message = (
            f"expected dated snapshots below {where}/ (such as {where}/2025-12-31/part-0.json.gz), "
            "found none: upload one, or correct `dataset` in the configuration"
        )
        raise SnapshotError(message)
    return dates[-1]


def missing(locations: Locations, dataset: str, date: dt.date) -> SnapshotError:
    """Return the error for a snapshot that is not there; it names the nearest that are."""
    dates = sorted(available(locations, dataset), key=lambda other: abs((other - date).days))
    nearest = ", ".join(sorted(other.isoformat() for other in dates[:_NEAREST]))
    found = f"the nearest are {nearest}" if nearest else "the dataset has no snapshot at all"
    where = locations.snapshot(dataset, date)
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

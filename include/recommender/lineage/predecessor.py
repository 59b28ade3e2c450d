"""Find the run that a run's data is compared with."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator

from recommender import storage
from recommender.checks import Previous
from recommender.errors import NotFoundError, StorageError
from recommender.gate import Decision
from recommender.locations import MANIFEST, PROFILE, Locations, join

_log = logging.getLogger(__name__)
_LOOKS = 10  # records without a profile: beyond them the work area has been cleaned up


def find(
    locations: Locations, recommender: str, snapshot: dt.date, run_key: str
) -> Previous | None:
    """Return the newest decided run of this snapshot or an older one, other than the run itself.

    Newest is by snapshot, then by the moment of the decision. Older or equal, so that a backfill
    compares with its own past, not with the future; decided, because a run whose data was blocked
    never gets that far, and data that a person has accepted is the measure from then on. A run
    whose profile has been deleted meanwhile is passed over.
    """
    for looks, decision in enumerate(_decided(locations, recommender, snapshot)):
        attempt = decision.attempt
        if (attempt.snapshot, attempt.run_key) == (snapshot, run_key):
            continue
        run = locations.run(recommender, attempt.snapshot, attempt.run_key)
        uri = join(run.dataset, PROFILE)
        try:
            return Previous(attempt.snapshot, attempt.run_key, uri, storage.read_json(uri))
        except NotFoundError:
            _log.info("%s was decided, but its profile is gone: %s", attempt.run_key, uri)
        if looks >= _LOOKS:
            break
    return None


def newest_dataset(locations: Locations, recommender: str, *, after: dt.date) -> str | None:
    """Return the dataset of the newest decided run over a snapshot later than a date.

    What the gate said of the model does not matter: the data passed its checks. None when no run
    has decided on a later snapshot, or the work area has been cleaned up since.
    """
    for looks, decision in enumerate(_decided(locations, recommender, dt.date.max)):
        attempt = decision.attempt
        if attempt.snapshot <= after or looks >= _LOOKS:
            return None
        dataset = locations.run(recommender, attempt.snapshot, attempt.run_key).dataset
        if storage.exists(join(dataset, MANIFEST)):
            return dataset
    return None


def _decided(locations: Locations, recommender: str, latest: dt.date) -> Iterator[Decision]:
    """Yield decisions, newest snapshot first and in it the newest decision."""
    folder = locations.decisions(recommender)
    for name in sorted(storage.list_children(folder), reverse=True):
        try:
            if dt.date.fromisoformat(name) > latest:
                continue
        except ValueError:
            continue
        records = [_read(file.uri) for file in storage.list_files(join(folder, name))]
        found = [record for record in records if record is not None]
        yield from sorted(found, key=lambda record: record.attempt.decided_at, reverse=True)


def _read(uri: str) -> Decision | None:
    try:
        return Decision.from_json(storage.read_json(uri))
    except (ValueError, StorageError) as error:
        _log.warning("passed over %s: %s", uri, error)
        return None

"""Read and move ``champion.json``, the one object that changes, and keep every record it ever held.

Each write is conditional: the first only if nothing is there, every later one only over the very
record that was read. Each record names the SHA-256 of the one before, so the history is a chain.

Before a record is replaced it is stored under ``champions/``, only if absent. Whoever is about to
replace record n stores the same bytes there, so no writer can spoil it for another, and a crash
between the two leaves nothing to repair.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from recommender import storage
from recommender.errors import ConflictError, ManifestError, NotFoundError
from recommender.gate import ChampionRef
from recommender.locations import Locations

_THREADS = 16  # each waits on S3 for one small object
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pointer:
    """Hold the pointer as it was read.

    Attributes:
        champion: the parsed record.
        data: its bytes.
        etag: what the next write has to name; S3's own, opaque (with SSE-KMS it is no MD5).
    """

    champion: ChampionRef
    data: bytes
    etag: str

    @property
    def sha256(self) -> str:
        """Return what the next record names as the one before it."""
        return hashlib.sha256(self.data).hexdigest()


def read(locations: Locations, recommender: str) -> Pointer | None:
    """Read the pointer; None before the first promotion.

    Raises:
        ManifestError: the object is there but is not a champion record.
    """
    uri = locations.champion(recommender)
    try:
        stored = storage.read(uri)
    except NotFoundError:
        return None
    return Pointer(_parse(stored.data, uri, locations, recommender), stored.data, stored.etag)


def move(
    locations: Locations, recommender: str, before: Pointer | None, after: ChampionRef
) -> None:
    """Replace the record that was read by the next one.

    Args:
        locations: where the model store is.
        recommender: whose pointer.
        before: the pointer as read; None for the first record.
        after: the next record; ``sequence`` and ``previous_sha256`` have to follow ``before``.

    Raises:
        ConflictError: the pointer is another one by now; nothing has changed.
        ManifestError: the history contradicts the pointer.
    """
    follows = (before.champion.sequence + 1, before.sha256) if before else (1, None)
    if (after.sequence, after.previous_sha256) != follows:
        message = f"expected the record after {follows}, found {after.sequence}"
        raise ValueError(message)
    if before:
        _keep(locations, recommender, before.champion.sequence, before.data)
    elif storage.exists(locations.champion_record(recommender, 1)):
        message = (
            f"expected {locations.champion(recommender)}, found none, yet there is a history: the "
            "pointer was deleted. Put the last record of "
            f"{locations.champion_record(recommender, 1).rsplit('/', 1)[0]} back in its place."
        )
        raise ManifestError(message)
    _replace(locations, recommender, before, after)
    _log.info("champion record %d: %s", after.sequence, after.version)


def _replace(
    locations: Locations, recommender: str, before: Pointer | None, after: ChampionRef
) -> None:
    target = locations.champion(recommender)
    etag = before.etag if before else None
    try:
        storage.write_json(target, after.to_json(), if_absent=etag is None, if_match=etag)
    except (ConflictError, NotFoundError):
        # A write whose answer was lost is sent again by the client and then meets itself. S3
        # answers a conditional write over a vanished object with 404, not 412.
        found = read(locations, recommender)
        if found is None or found.champion != after:
            raise ConflictError(lost_race(before, found)) from None
    # Not needed by the next move, which does the same: it keeps the history whole for restoring
    # a pointer that somebody deletes.
    if found := read(locations, recommender):
        _keep(locations, recommender, found.champion.sequence, found.data)


def lost_race(before: Pointer | None, found: Pointer | None) -> str:
    """Say which champion was expected and which was found."""

    def name(pointer: Pointer | None) -> str:
        return (
            f"{pointer.champion.version} (record {pointer.champion.sequence})"
            if pointer
            else "none"
        )

    return (
        f"expected champion {name(before)}, found {name(found)}: another writer was first. "
        "Look at the champion and decide again."
    )


def history(locations: Locations, recommender: str, last: int | None = None) -> list[ChampionRef]:
    """Read the records of the pointer, oldest first, and check that they are a chain.

    Args:
        locations: where the model store is.
        recommender: whose history.
        last: how many of the newest; None for all.

    Raises:
        ManifestError: a record is missing, of another number, or not the one the next one names.
    """
    pointer = read(locations, recommender)
    if pointer is None:
        return []
    end = pointer.champion.sequence
    start = 1 if last is None else max(1, end - last + 1)
    uris = [locations.champion_record(recommender, n) for n in range(start, end)]
    with ThreadPoolExecutor(_THREADS) as pool:
        stored = list(pool.map(_read_record, uris))
    records = [
        _parse(data, uri, locations, recommender) for data, uri in zip(stored, uris, strict=True)
    ]
    _check_chain([*records, pointer.champion], stored, start, locations.champion(recommender))
    return [*records, pointer.champion]


def record(
    locations: Locations, recommender: str, sequence: int, seen: Pointer | None
) -> ChampionRef:
    """Read one record of the history, the pointer's own included.

    Raises:
        ManifestError: it is not there, or is no champion record.
    """
    if seen and seen.champion.sequence == sequence:
        return seen.champion
    uri = locations.champion_record(recommender, sequence)
    return _parse(_read_record(uri), uri, locations, recommender)


def _read_record(uri: str) -> bytes:
    try:
        return storage.read(uri).data
    except NotFoundError as error:
        message = (
            f"expected a record of the champion's history at {uri}, found none: was it deleted?"
        )
        raise ManifestError(message) from error


def _check_chain(records: list[ChampionRef], stored: list[bytes], start: int, uri: str) -> None:
    for place, (record, following) in enumerate(itertools.pairwise(records)):
        digest = hashlib.sha256(stored[place]).hexdigest()
        if (record.sequence, following.previous_sha256) != (start + place, digest):
            message = (
                f"the history of {uri} is no chain: record {following.sequence} names "
                f"{following.previous_sha256} as the one before, record {record.sequence} is {digest}"
            )
            raise ManifestError(message)


def _keep(locations: Locations, recommender: str, sequence: int, data: bytes) -> None:
    uri = locations.champion_record(recommender, sequence)
    try:
        storage.write(uri, data, if_absent=True)
    except ConflictError:
        if storage.read(uri).data != data:
            message = (
                f"expected {uri} to be what {locations.champion(recommender)} holds, found another "
                "record: one of the two was written from outside. Compare them, put the right one "
                "into the pointer, and move the other away."
            )
            raise ManifestError(message) from None


def _parse(data: bytes, uri: str, locations: Locations, recommender: str) -> ChampionRef:
    try:
        return ChampionRef.from_json(json.loads(data))
    except ValueError as error:
        message = (
            f"expected the champion's record at {uri}, found something else: {error}. Restore it: "
            f"{locations.decisions(recommender)} tells which version was promoted last."
        )
        raise ManifestError(message) from error

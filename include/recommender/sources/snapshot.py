"""Find a snapshot's data files and settle their format, before Spark starts."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from recommender import storage
from recommender.errors import BadDataError, SnapshotError
from recommender.lake import snapshots
from recommender.locations import MANIFEST
from recommender.sources import SOURCES
from recommender.sources.base import Source
from recommender.sources.peek import disguise, gunzip_head, is_gzip_name
from recommender.storage import FileInfo

logger = logging.getLogger(__name__)

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_THREADS = 16  # looking into thousands of tiny files waits on the network
# A file whose first line is longer than one head is looked at with the next size.
_HEADS = (1 << 16, 1 << 20, 1 << 24)
_LINES = 50  # objects looked at per file; a mix further down ends in the quarantine
_NAMED = 5  # files and keys a message names


@dataclass(frozen=True)
class Snapshot:
    """Hold what is known of a snapshot before it is read.

    Attributes:
        uri: the directory.
        files: data files with content, in order of name.
        empty: names of files of zero bytes, which hold nothing to lose.
        source: the one format of all files.
    """

    uri: str
    files: tuple[FileInfo, ...]
    empty: tuple[str, ...]
    source: Source

    @property
    def gzip_bytes(self) -> int:
        """Return the compressed size of the files that are gzip."""
        return sum(f.size for f in self.files if is_gzip_name(f.uri))

    @property
    def plain_bytes(self) -> int:
        """Return the size of the files that are not compressed."""
        return sum(f.size for f in self.files if not is_gzip_name(f.uri))


@dataclass
class _Look:
    """Collect what the head of one file shows."""

    name: str
    disguise: str | None = None
    formats: set[str] = field(default_factory=set)
    keys: tuple[str, ...] = ()
    first_line: str = ""


def open_snapshot(uri: str, declared: str) -> Snapshot:
    """List a snapshot, look into every file, and settle the format.

    Args:
        uri: directory of the raw files.
        declared: a format's name, or ``auto``.

    Raises:
        SnapshotError: no data, an unknown format, or another one than declared.
        BadDataError: a file is not what its name says, or formats are mixed.
    """
    listed = _data_files(uri)
    files = tuple(f for f in listed if f.size)
    empty = tuple(_name(f) for f in listed if not f.size)
    if empty:
        logger.warning("%d empty files: %s", len(empty), _some(empty))
    if not files:
        message = f"{uri}: expected interactions, found only empty files: {_some(empty)}"
        raise SnapshotError(message)
    with ThreadPoolExecutor(_THREADS) as pool:
        looks = list(pool.map(_look, files))
    source = SOURCES[_settle(uri, looks, declared)]
    logger.info("format %s in %d files of %s (%s)", source.name, len(files), uri, declared)
    return Snapshot(uri, files, empty, source)


def format_of(file: FileInfo) -> str | None:
    """Look into one file; None when it is of no format, or of several."""
    formats = _look(file).formats
    return next(iter(formats)) if len(formats) == 1 else None


def _data_files(uri: str) -> list[FileInfo]:
    prefix = uri.rstrip("/") + "/"
    found = storage.list_files(uri)
    snapshots.require_whole(uri, found)
    listed = [(f, f.uri.removeprefix(prefix)) for f in found]
    # What lies deeper (items/) is metadata; the other names are bookkeeping.
    direct = [
        (f, name)
        for f, name in listed
        if "/" not in name and name != MANIFEST and not name.startswith(("_", "."))
    ]
    files = [f for f, name in direct if name.endswith(SUFFIXES)]
    if not files:
        others = _some([name for _, name in listed]) if listed else "nothing"
        message = (
            f"{uri}: expected files named {', '.join('*' + s for s in SUFFIXES)}, found {others}. "
            "Check that the snapshot has landed and that its path is right."
        )
        raise SnapshotError(message)
    strange = [name for _, name in direct if not name.endswith(SUFFIXES)]
    if strange:
        logger.warning(
            "%d files are no JSON by name and not read: %s", len(strange), _some(strange)
        )
    return files


def _look(file: FileInfo) -> _Look:
    look = _Look(_name(file))
    for size in _HEADS:
        head = storage.read_head(file, size)
        look.disguise = disguise(look.name, head)
        text = gunzip_head(head, size) if is_gzip_name(look.name) else head
        # The last line may be cut, unless this is the whole file.
        whole = size >= file.size and len(text) < size
        lines = text.decode("utf-8-sig", "replace").split("\n")
        _read_lines(look, lines if whole else lines[:-1])
        if look.disguise or look.keys or whole:
            break
    return look


def _read_lines(look: _Look, lines: Iterable[str]) -> None:
    filled = [line.strip().strip("\ufeff") for line in lines if line.strip()]
    look.first_line = filled[0][:80] if filled else ""
    for record in islice(_objects(filled), _LINES):
        look.keys = look.keys or tuple(record)
        look.formats |= {s.name for s in SOURCES.values() if s.recognises(record)}
    if "amazon_2018" in look.formats:  # one line without "verified" does not make a file 2014
        look.formats.discard("amazon_2014")


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines that are JSON objects; what the others are is the parser's business."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _settle(uri: str, looks: Sequence[_Look], declared: str) -> str:
    """Agree on one format for all files or say which file stands in the way."""
    disguised = [f"{look.name} is {look.disguise}" for look in looks if look.disguise]
    if disguised:
        message = f"{uri}: expected JSON lines, found: {_some(disguised)}"
        raise BadDataError(message)
    holders: dict[str, list[str]] = defaultdict(list)
    for look in looks:
        for name in look.formats:
            holders[name].append(look.name)
    if not holders:
        raise SnapshotError(_unknown(uri, looks))
    foreign = [look for look in looks if look.keys and not look.formats]
    if foreign:
        message = (
            f"{uri}: expected {' or '.join(holders)} in every file, found other objects in "
            f"{_some([look.name for look in foreign])} (keys {_some(foreign[0].keys)}). "
            "Item metadata belongs in items/ below the snapshot."
        )
        raise BadDataError(message)
    if len(holders) > 1:
        found = "; ".join(f"{name} in {_some(files)}" for name, files in sorted(holders.items()))
        message = f"{uri}: expected one format, found a mix: {found}. One snapshot, one format."
        raise BadDataError(message)
    found = next(iter(holders))
    if declared not in {"auto", found}:
        message = (
            f"{uri}: expected {declared} as preprocess.format says, found {found} in "
            f"{_some(holders[found])}. Correct the setting (auto detects) or the snapshot."
        )
        raise SnapshotError(message)
    unread = [look.name for look in looks if not look.formats]
    if unread:
        logger.warning("no readable line at the start of %s", _some(unread))
    return found


def _unknown(uri: str, looks: Sequence[_Look]) -> str:
    expected = "; ".join(f"{s.name}: {', '.join(s.required)}" for s in SOURCES.values())
    look = next((x for x in looks if x.keys), None)
    if look:
        return (
            f"{uri}: unknown format: {look.name} holds objects with the keys {', '.join(look.keys)}; "
            f"expected the keys of one of {expected}"
        )
    look = next((x for x in looks if x.first_line), None)
    if look is None:
        return f"{uri}: expected interactions, found only files without a line of text"
    return (
        f"{uri}: unknown format: no line at the start of {look.name} is a JSON object, the first is "
        f"{look.first_line!r}; expected one JSON object a line with the keys of one of {expected}"
    )


def _name(file: FileInfo) -> str:
    return file.uri.rsplit("/", 1)[-1]


def _some(names: Sequence[str]) -> str:
    """Join the first few names and say how many there are beside."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

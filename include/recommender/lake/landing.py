"""Land a download in the lake as a dated snapshot: whole, or not there for anybody.

The order of writes is what makes it safe: a note (``_uploading.json``) first, then the files side by
side, then ``manifest.json``, then the note goes. A reader trusts a folder with a manifest, and leaves
alone one with a note only. A broken upload is repeated with the same command: what has arrived is
known by its SHA-256 and not sent again. A snapshot is never changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender import storage
from recommender.errors import BadDataError, ConflictError, SnapshotError
from recommender.lake import snapshots
from recommender.lake.snapshots import KIND, State
from recommender.locations import ITEMS, MANIFEST, UPLOADING, join
from recommender.manifest import File, Manifest, is_bookkeeping

logger = logging.getLogger(__name__)

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_CHUNK = 1 << 20
_THREADS = min(8, 2 * (os.cpu_count() or 1))  # hashing and unpacking leave Python's lock alone


@dataclass(frozen=True)
class Piece:
    """Know one file of the download.

    Attributes:
        path: where it is.
        file: its size and SHA-256.
        lines: how many lines it holds.
    """

    path: Path
    file: File
    lines: int


def land(download: Path, items: Path | None, target: str, declared: str) -> tuple[Manifest, bool]:
    """Upload a download as a snapshot.

    Args:
        download: a file, or a folder of files; its folder ``items/`` holds metadata.
        items: further metadata: a file or a folder; None for none.
        target: directory of the snapshot.
        declared: the raw format, or ``auto``.

    Returns:
        The manifest, and whether anything was written: a repeated call finds it done.

    Raises:
        SnapshotError: the download holds no data, or of an unknown format.
        BadDataError: a file is torn, or not what its name says.
        ConflictError: there is another snapshot, or another one on its way.
    """
    paths = _paths(download, items)
    source = _format(paths, declared)
    with ThreadPoolExecutor(_THREADS) as pool:
        pieces = dict(zip(paths, pool.map(examine, paths.values()), strict=True))
    manifest = _manifest(pieces, source)
    if _is_done(target, manifest):
        return manifest, False
    _announce(target, manifest)
    _upload(pieces, target)
    _seal(target, manifest)
    return manifest, True


def examine(path: Path) -> Piece:
    """Read a file once: size, SHA-256 and lines.

    Raises:
        BadDataError: it is a gzip that ends in mid-stream or is damaged.
    """
    digest, lines, size, last = hashlib.sha256(), 0, 0, b"\n"
    unpack = _unpacker(path) if path.name.endswith(".gz") else _as_it_is
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            text = unpack(chunk)
            lines += text.count(b"\n")
            last = text[-1:] or last
    unpack(b"")
    return Piece(path, File(size, digest.hexdigest()), lines + (last != b"\n"))


def _as_it_is(chunk: bytes) -> bytes:
    return chunk


def _unpacker(path: Path) -> Callable[[bytes], bytes]:
    """Return a function that unpacks chunk after chunk; an empty one asks whether it is whole."""
    stream = zlib.decompressobj(wbits=31)

    def unpack(chunk: bytes) -> bytes:
        nonlocal stream
        out = bytearray()
        if not chunk and not stream.eof:
            message = f"{path}: gzip ends in mid-stream; download it again"
            raise BadDataError(message)
        while chunk:
            if stream.eof:  # gzip files may be concatenated: another member begins
                stream = zlib.decompressobj(wbits=31)
            try:
                out += stream.decompress(chunk)
            except zlib.error as error:
                message = f"{path}: gzip is damaged ({error}); download it again"
                raise BadDataError(message) from error
            chunk = stream.unused_data
        return bytes(out)

    return unpack


def _paths(download: Path, items: Path | None) -> dict[str, Path]:
    """Return the files by their name in the snapshot, in order."""
    if not download.exists():
        message = f"expected a file or a folder at {download}, found nothing"
        raise SnapshotError(message)
    if items is not None and not items.exists():
        message = f"expected metadata at {items}, found nothing"
        raise SnapshotError(message)
    inside = download / ITEMS
    found = [(path.name, path) for path in _files(download)]
    for folder in (inside if inside.is_dir() else None, items):
        found += [(f"{ITEMS}/{path.name}", path) for path in _files(folder)] if folder else []
    paths = dict(sorted(found))
    if len(paths) < len(found):
        message = f"expected names that differ, found one twice in {inside} and {items}"
        raise SnapshotError(message)
    return paths


def _files(path: Path) -> list[Path]:
    """List the data files of a folder, or the one that is named."""
    if path.is_file():
        return [path]
    found = sorted(p for p in path.iterdir() if p.is_file() and not is_bookkeeping(p.name))
    others = [p.name for p in found if not p.name.endswith(SUFFIXES)]
    if others:
        logger.warning("left out, no JSON by name: %s", ", ".join(others[:5]))
    return [p for p in found if p.name.endswith(SUFFIXES) and p.name != MANIFEST]


def _format(paths: Mapping[str, Path], declared: str) -> str:
    """Settle the format as preprocessing will; what it would refuse is not uploaded."""
    from recommender.sources.snapshot import open_snapshot

    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        for name, path in paths.items():
            if "/" not in name:
                (Path(folder) / name).symlink_to(path.resolve())
        try:
            return open_snapshot(folder, declared).source.name
        except (SnapshotError, BadDataError) as error:
            raise type(error)(str(error).replace(folder, "the download")) from error


def _manifest(pieces: Mapping[str, Piece], source: str) -> Manifest:
    raw = {name: piece.lines for name, piece in pieces.items() if "/" not in name}
    about = {
        "format": source,
        "rows": sum(raw.values()),
        "rows_by_file": {name: piece.lines for name, piece in pieces.items()},
        "items": sum(piece.lines for name, piece in pieces.items() if "/" in name),
        "bytes": sum(piece.file.size for piece in pieces.values()),
    }
    return Manifest(KIND, {name: piece.file for name, piece in pieces.items()}, about)


def _is_done(target: str, manifest: Manifest) -> bool:
    """Tell whether the very same snapshot is there already.

    Raises:
        ConflictError: another one is, or files that nobody has put into a manifest.
    """
    names = storage.list_children(target)
    state = snapshots.state_of(names)
    if state is State.SEALED:
        where = join(target, MANIFEST)
        there = Manifest.from_json(storage.read_json(where), where)
        if there.files == manifest.files:
            logger.info("%s is there already, the same to the last byte", target)
            return True
        message = (
            f"{target} is another snapshot: {_difference(there, manifest)}. A snapshot is never "
            "changed; take another date."
        )
        raise ConflictError(message)
    if state is State.PLAIN:
        message = (
            f"{target} holds files without a manifest ({', '.join(names[:3])}): somebody has put them "
            "there by other means. Take another date, or remove them."
        )
        raise ConflictError(message)
    return False


def _announce(target: str, manifest: Manifest) -> None:
    """Write the note that an upload has begun, or see that it is about the same files.

    Raises:
        ConflictError: an upload of other files has begun and not ended.
    """
    where = join(target, UPLOADING)
    try:
        storage.write_json(where, manifest.to_json(), if_absent=True)
    except ConflictError as error:
        there = Manifest.from_json(storage.read_json(where), where)
        if there.files != manifest.files:
            message = (
                f"another upload to {target} has begun and not ended: {_difference(there, manifest)}. "
                f"Let it end; or, if nobody goes on with it, remove {target}/ and begin again."
            )
            raise ConflictError(message) from error
        logger.info("going on with an upload that was broken off")


def _upload(pieces: Mapping[str, Piece], target: str) -> None:
    began = dt.datetime.now(dt.UTC)

    def send(name: str) -> int:
        piece, uri = pieces[name], join(target, name)
        if storage.kept_sha256(uri) == piece.file.sha256:
            return 0
        storage.upload(piece.path, uri, sha256=piece.file.sha256)
        return piece.file.size

    sent = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, (name, size) in enumerate(zip(pieces, pool.map(send, pieces), strict=True), 1):
            sent += size
            seconds = max(1e-3, (dt.datetime.now(dt.UTC) - began).total_seconds())
            what = "sent" if size else "was there"
            rate = f"{sent / 1e6:.1f} MB, {sent / 1e6 / seconds:.1f} MB/s"
            logger.info("%d of %d: %s %s (%s)", number, len(pieces), name, what, rate)


def _seal(target: str, manifest: Manifest) -> None:
    """Check what has arrived, write the manifest, take the note away.

    Raises:
        BadDataError: a file was changed on the disk or in the lake meanwhile.
        ConflictError: another one was sealed meanwhile.
    """
    prefix = f"{target}/"
    sizes = {f.uri.removeprefix(prefix): f.size for f in storage.list_files(target)}
    for name, file in manifest.files.items():
        kept = storage.kept_sha256(join(target, name))
        if sizes.get(name) != file.size or kept != file.sha256:
            message = (
                f"{prefix}{name}: expected {file.size} bytes with SHA-256 {file.sha256}, found "
                f"{sizes.get(name)} with {kept}: it was changed meanwhile; run the command again"
            )
            raise BadDataError(message)
    try:
        storage.write_json(join(target, MANIFEST), manifest.to_json(), if_absent=True)
    except ConflictError:
        _is_done(target, manifest)  # the same by another process; another one raises
    storage.delete(join(target, UPLOADING))


def _difference(there: Manifest, ours: Manifest) -> str:
    names = there.files.keys() | ours.files.keys()
    name = min(n for n in names if there.files.get(n) != ours.files.get(n))
    if name not in there.files:
        return f"it has no {name}"
    return (
        f"it has another {name}" if name in ours.files else f"it has {name}, the download has not"
    )


def describe(uri: str) -> dict[str, Any]:
    """Say what a snapshot is: state, files, rows, bytes, format; None where it cannot be told.

    Without a manifest the format is that of the first file, and rows are not counted.
    """
    files = storage.list_files(uri)
    prefix = uri.rstrip("/") + "/"
    sizes = {f.uri.removeprefix(prefix): f.size for f in files}
    state, problem, manifest = snapshots.state_of(sizes.keys()), None, None
    if state is State.SEALED:
        try:
            manifest = snapshots.require_whole(uri, files)
            state = State.SEALED if manifest else State.PLAIN
        except BadDataError as error:
            problem = str(error)
    data = {n: size for n, size in sizes.items() if n != MANIFEST and not is_bookkeeping(n)}
    about = manifest.about if manifest else {}
    return {
        "state": "torn" if problem else state.value,
        "files": len([name for name in data if "/" not in name]),
        "rows": about.get("rows"),
        "bytes": sum(data.values()),
        "format": about.get("format") or _first_format(uri, state, data),
        "items": about.get("items"),
        "problem": problem,
    }


def _first_format(uri: str, state: State, data: Mapping[str, int]) -> str | None:
    if state is not State.PLAIN:
        return None
    from recommender.sources.snapshot import format_of

    found = sorted(n for n, size in data.items() if "/" not in n and size and n.endswith(SUFFIXES))
    return format_of(storage.FileInfo(join(uri, found[0]), data[found[0]])) if found else None

"""Objects as local files, with S3's behaviour: whole or absent, and conditional writes."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from recommender.errors import ConflictError, NotFoundError, StorageError
from recommender.storage.objects import FileInfo, Stored


def path(uri: str) -> Path:
    """Return the path that a local URI means."""
    return Path(uri.removeprefix("file://"))


def read(uri: str) -> Stored:
    """Read a whole file."""
    with _translated(uri):
        data = path(uri).read_bytes()
    return Stored(data, _etag(data))


def read_if_changed(uri: str, etag: str) -> Stored | None:
    """Read a file unless its content has this ETag."""
    stored = read(uri)
    return None if stored.etag == etag else stored


def read_head(file: FileInfo, size: int) -> bytes:
    """Read the first bytes of a file."""
    with _translated(file.uri), path(file.uri).open("rb") as stream:
        return stream.read(size)


@contextmanager
def open_read(file: FileInfo, piece: int) -> Iterator[BinaryIO]:
    """Open a file to be read from its beginning to its end."""
    with (
        _translated(file.uri),
        path(file.uri).open("rb", max(piece, io.DEFAULT_BUFFER_SIZE)) as stream,
    ):
        yield stream


def write(
    uri: str,
    data: bytes,
    *,
    if_absent: bool,
    if_match: str | None,
    content_type: str | None,  # noqa: ARG001 - a disk has no place for it
) -> str:
    """Write a whole file. One lock per directory stands in for S3's atomic conditional write."""
    target = path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") if if_absent or if_match else _no_lock() as lock:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if if_absent and target.exists():
            message = f"{target} exists already: another writer was first"
            raise ConflictError(message)
        if if_match and (not target.exists() or _etag(target.read_bytes()) != if_match):
            message = f"{target} is not what was read ({if_match}): another writer was first"
            raise ConflictError(message)
        with replacing(target) as temporary:
            temporary.write_bytes(data)
    return _etag(data)


def list_files(uri: str) -> list[FileInfo]:
    """List every file below a directory, in order of name."""
    # Hidden files are half-written ones, locks, and the checksums of Hadoop's local file system.
    files = sorted(p for p in path(uri).rglob("*") if p.is_file() and not p.name.startswith("."))
    return [FileInfo(str(file), file.stat().st_size) for file in files]


def list_children(uri: str) -> list[str]:
    """List the names in a directory, sorted."""
    root = path(uri)
    return sorted(child.name for child in root.iterdir()) if root.is_dir() else []


def exists(uri: str) -> bool:
    """Tell whether a file is there."""
    return path(uri).is_file()


def delete(uri: str) -> None:
    """Delete one file."""
    with _translated(uri):
        path(uri).unlink(missing_ok=True)


def delete_prefix(uri: str) -> int:
    """Delete a directory and return how many files it had."""
    count = len(list_files(uri))
    shutil.rmtree(path(uri), ignore_errors=True)
    return count


def upload(source: Path, uri: str, digest: str | None) -> None:  # noqa: ARG001 - hashed when asked
    """Copy a file."""
    target = path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _translated(uri), replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def kept_sha256(uri: str) -> str | None:
    """Return the SHA-256 of a file."""
    return sha256(uri)


def download(uri: str, target: Path) -> None:
    """Copy a file."""
    with _translated(uri):
        shutil.copyfile(path(uri), target)


def sha256(uri: str) -> str:
    """Hash a file with SHA-256, streaming, in lower-case hex."""
    with _translated(uri), path(uri).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Write beside the target and rename: a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def _no_lock() -> Iterator[None]:
    yield None


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turn the disk's errors into ours, with the path in the message."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"expected a file at {uri}, found none"
        raise NotFoundError(message) from error
    except OSError as error:
        message = f"could not read or write {uri}: {error}"
        raise StorageError(message) from error

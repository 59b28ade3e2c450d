"""Read and write objects by URI: ``s3://bucket/key`` or a local path, with one behaviour.

The only room of the product that touches S3 or the disk. Everything raises

- NotFoundError: there is no such object;
- ConflictError: the condition of a write did not hold: someone else wrote first;
- StorageError: S3 or the disk refused, or could not be reached.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from recommender.errors import NotFoundError, StorageError
from recommender.storage import disk, s3
from recommender.storage.objects import FileInfo, Stored
from recommender.storage.s3 import s3_client

__all__ = [
    "FileInfo",
    "Stored",
    "copy",
    "delete",
    "delete_prefix",
    "download",
    "exists",
    "is_s3",
    "kept_sha256",
    "list_children",
    "list_files",
    "local_copy",
    "open_read",
    "parse_json",
    "read",
    "read_chunks",
    "read_head",
    "read_if_changed",
    "read_json",
    "s3_client",
    "sha256",
    "upload",
    "write",
    "write_json",
]

FOOTER_BYTES = 64 << 10  # holds the footer of a Parquet file of a hundred row groups
_PIECE_BYTES = 8 << 20  # a tenth of a second of a 1 Gbit link, a hundred requests a gigabyte


class _Store(Protocol):
    """What both modules, `s3` and `disk`, do for this one."""

    def read(self, uri: str) -> Stored: ...
    def read_if_changed(self, uri: str, etag: str) -> Stored | None: ...
    def read_head(self, file: FileInfo, size: int) -> bytes: ...
    def open_read(self, file: FileInfo, piece: int) -> AbstractContextManager[BinaryIO]: ...
    def write(
        self,
        uri: str,
        data: bytes,
        *,
        if_absent: bool,
        if_match: str | None,
        content_type: str | None,
    ) -> str: ...
    def list_files(self, uri: str) -> list[FileInfo]: ...
    def list_children(self, uri: str) -> list[str]: ...
    def exists(self, uri: str) -> bool: ...
    def delete(self, uri: str) -> None: ...
    def delete_prefix(self, uri: str) -> int: ...
    def upload(self, source: Path, uri: str, digest: str | None) -> None: ...
    def kept_sha256(self, uri: str) -> str | None: ...
    def download(self, uri: str, target: Path) -> None: ...
    def sha256(self, uri: str) -> str: ...


def is_s3(uri: str) -> bool:
    """Tell an S3 URI from a local path."""
    return urlsplit(uri).scheme in {"s3", "s3a", "s3n"}


def _store(uri: str) -> _Store:
    return s3 if is_s3(uri) else disk


def read(uri: str) -> Stored:
    """Read a whole object."""
    return _store(uri).read(uri)


def read_if_changed(uri: str, etag: str | None) -> Stored | None:
    """Read an object unless it is still the one with this ETag."""
    return read(uri) if etag is None else _store(uri).read_if_changed(uri, etag)


def read_head(file: FileInfo, size: int) -> bytes:
    """Read the first bytes of a listed object, or all of it if there are no more."""
    if file.size == 0:
        return b""  # S3 refuses a range of nothing
    return _store(file.uri).read_head(file, size)


def open_read(file: FileInfo, *, piece: int = _PIECE_BYTES) -> AbstractContextManager[BinaryIO]:
    """Open a listed object to be read with little memory, in order or by seeking.

    S3 is asked for one piece after the other: a connection that is lost in the tenth gigabyte
    costs a piece, not the file. An object that is replaced meanwhile is a ConflictError. Ask for
    small pieces where little is read between two seeks.
    """
    return _store(file.uri).open_read(file, piece)


def read_chunks(file: FileInfo, size: int) -> Iterator[bytes]:
    """Read a listed object as ``open_read`` does, in chunks of a size, holding one at a time."""
    with _store(file.uri).open_read(file, size) as stream:
        while chunk := stream.read(size):
            yield chunk


def read_json(uri: str) -> Any:  # noqa: ANN401 - JSON is any value
    """Read an object and parse it as JSON; a parse error names the object."""
    return parse_json(read(uri).data, uri)


def parse_json(data: bytes, uri: str) -> Any:  # noqa: ANN401 - JSON is any value
    """Parse what was read from a URI as JSON; a parse error names the object."""
    try:
        return json.loads(data)
    except ValueError as error:
        message = f"expected JSON in {uri}, found something else: {error}"
        raise StorageError(message) from error


def write(
    uri: str,
    data: bytes,
    *,
    if_absent: bool = False,
    if_match: str | None = None,
    content_type: str | None = None,
) -> str:
    """Write a whole object and return its ETag.

    Args:
        uri: where to write.
        data: the content.
        if_absent: write only if nothing is there yet.
        if_match: write only over the object with this ETag.
        content_type: what S3 tells a browser the content is; a disk has no place for it.
    """
    return _store(uri).write(
        uri, data, if_absent=if_absent, if_match=if_match, content_type=content_type
    )


def write_json(
    uri: str, value: object, *, if_absent: bool = False, if_match: str | None = None
) -> str:
    """Write a value as readable JSON with sorted keys; NaN and Infinity are refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return write(uri, f"{text}\n".encode(), if_absent=if_absent, if_match=if_match)


def list_files(uri: str) -> list[FileInfo]:
    """List every object below a prefix, in order of name; an absent prefix is empty."""
    return _store(uri).list_files(uri)


def list_children(uri: str) -> list[str]:
    """List the names directly below a prefix (like ``ls``), sorted."""
    return _store(uri).list_children(uri)


def exists(uri: str) -> bool:
    """Tell whether an object is there."""
    return _store(uri).exists(uri)


def delete(uri: str) -> None:
    """Delete one object; one that is not there is no error, as in S3."""
    _store(uri).delete(uri)


def delete_prefix(uri: str) -> int:
    """Delete every object below a prefix and return how many there were."""
    return _store(uri).delete_prefix(uri)


def upload(path: Path, uri: str, *, sha256: str | None = None) -> None:
    """Copy a local file to a URI, streaming.

    Args:
        path: the file.
        uri: where it goes.
        sha256: its SHA-256 in hex, to be kept with the object for ``kept_sha256``.
    """
    _store(uri).upload(path, uri, sha256)


def kept_sha256(uri: str) -> str | None:
    """Return the SHA-256 of what is stored, without reading it from S3; None where nobody knows.

    S3 keeps what ``upload`` was told; a local file is read. An absent object has none.
    """
    try:
        return _store(uri).kept_sha256(uri)
    except NotFoundError:
        return None


def download(uri: str, path: Path) -> None:
    """Copy an object to a local file, streaming."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _store(uri).download(uri, path)


def copy(source: str, target: str) -> None:
    """Copy one object; from S3 to S3 the bytes stay there. The target appears whole or not at all."""
    if is_s3(source) and is_s3(target):
        s3.copy(source, target)
    elif is_s3(source):
        disk.path(target).parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(disk.path(target)) as temporary:
            download(source, temporary)
    else:
        if not disk.exists(source):
            message = f"expected a file at {source}, found none"
            raise NotFoundError(message)
        upload(disk.path(source), target)


def sha256(uri: str) -> str:
    """Hash an object with SHA-256, streaming, in lower-case hex."""
    return _store(uri).sha256(uri)


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Give a local directory with the files below a URI: the path itself, or a temporary copy."""
    if not is_s3(uri):
        yield disk.path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="recsys-") as directory:
        root = Path(directory)
        prefix = uri.rstrip("/") + "/"
        for file in list_files(uri):
            download(file.uri, root / file.uri.removeprefix(prefix))
        yield root

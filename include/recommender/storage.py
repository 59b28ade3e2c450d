"""Read and write objects by URI: ``s3://bucket/key`` or a local path, with one behaviour.

The only module of the product that touches S3 or the disk. The endpoint, the region and the
credentials come from the environment as boto3 reads them (``AWS_ENDPOINT_URL`` and so on), so
nothing here knows whether the AWS behind it is real.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from recommender.errors import ConflictError, NotFoundError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 4  # of reading one piece whose connection breaks off
_SHA256 = "sha256"  # of an object's metadata
_MISSING_CODES = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_PIECE_BYTES = 8 << 20  # a tenth of a second of a 1 Gbit link, a hundred requests a gigabyte
_LOST_RACE_CODES = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}


@dataclass(frozen=True)
class FileInfo:
    """Describe one stored object: its URI and its size in bytes."""

    uri: str
    size: int


@dataclass(frozen=True)
class Stored:
    """Hold the bytes of an object and the ETag a conditional write needs."""

    data: bytes
    etag: str


def is_s3(uri: str) -> bool:
    """Tell an S3 URI from a local path."""
    return urlsplit(uri).scheme in {"s3", "s3a", "s3n"}


def read(uri: str) -> Stored:
    """Read a whole object.

    Raises:
        NotFoundError: there is no such object.
        StorageError: S3 or the disk refused.
    """
    if is_s3(uri):
        bucket, key = _split(uri)
        with _translated(uri):
            answer = s3_client().get_object(Bucket=bucket, Key=key)
            return Stored(answer["Body"].read(), answer["ETag"])
    with _translated(uri):
        data = _path(uri).read_bytes()
        return Stored(data, _etag(data))


def read_if_changed(uri: str, etag: str | None) -> Stored | None:
    """Read an object unless it is still the one with this ETag: one small request a look.

    Raises:
        NotFoundError: there is no such object.
        StorageError: S3 or the disk refused.
    """
    if etag is None:
        return read(uri)
    if not is_s3(uri):
        stored = read(uri)
        return None if stored.etag == etag else stored
    import botocore.exceptions

    bucket, key = _split(uri)
    with _translated(uri):
        try:
            answer = s3_client().get_object(Bucket=bucket, Key=key, IfNoneMatch=etag)
        except botocore.exceptions.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 304:
                return None
            raise
        return Stored(answer["Body"].read(), answer["ETag"])


def read_head(file: FileInfo, size: int) -> bytes:
    """Read the first bytes of a listed object, or all of it if there are no more.

    Raises:
        NotFoundError: it has gone since it was listed.
    """
    if file.size == 0:
        return b""  # S3 refuses a range of nothing
    with _translated(file.uri):
        if not is_s3(file.uri):
            with _path(file.uri).open("rb") as stream:
                return stream.read(size)
        bucket, key = _split(file.uri)
        answer = s3_client().get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{size - 1}")
        return answer["Body"].read()


@contextmanager
def open_read(file: FileInfo) -> Iterator[BinaryIO]:
    """Open a listed object to be read from its beginning to its end, with little memory.

    S3 is asked for one piece after the other: a connection that is lost in the tenth gigabyte
    costs a piece, not the file.

    Raises:
        NotFoundError: it has gone since it was listed.
        StorageError: S3 or the disk refused.
    """
    if is_s3(file.uri):
        with io.BufferedReader(_S3Pieces(file), _PIECE_BYTES) as stream:
            yield stream
        return
    with _translated(file.uri), _path(file.uri).open("rb") as stream:
        yield stream


class _S3Pieces(io.RawIOBase):
    """Read an object in ranges; each is asked for again when its connection is lost midway."""

    def __init__(self, file: FileInfo) -> None:
        self._file, self._position, self._etag = file, 0, cast("str | None", None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the base class's writable buffer
        size = min(len(buffer), self._file.size - self._position)
        if size <= 0:
            return 0
        last = self._position + size - 1
        piece = _read_range(self._file.uri, self._position, last, self._etag)
        buffer[: len(piece.data)] = piece.data
        self._etag = piece.etag
        self._position += len(piece.data)
        return len(piece.data)


def read_chunks(file: FileInfo, size: int) -> Iterator[bytes]:
    """Read a listed object from beginning to end in pieces, holding one at a time.

    From S3 each piece is a request of its own, tried again when its connection breaks: a stream
    of hours would be lost with one connection. All have to be of the object that was begun.

    Raises:
        NotFoundError: it has gone since it was listed.
        StorageError: it was replaced while it was read, or S3 or the disk refused.
    """
    if not is_s3(file.uri):
        with _translated(file.uri), _path(file.uri).open("rb", buffering=0) as stream:
            while chunk := stream.read(size):
                yield chunk
        return
    etag = None
    for start in range(0, file.size, size):
        stored = _read_range(file.uri, start, min(start + size, file.size) - 1, etag)
        etag = stored.etag
        yield stored.data


def _read_range(uri: str, first: int, last: int, etag: str | None) -> Stored:
    import botocore.exceptions

    bucket, key = _split(uri)
    condition: dict[str, Any] = {} if etag is None else {"IfMatch": etag}
    for attempt in range(1, _ATTEMPTS + 1):
        with _translated(uri):
            # boto3 retries the request by itself, but not a body that breaks off.
            try:
                answer = s3_client().get_object(
                    Bucket=bucket, Key=key, Range=f"bytes={first}-{last}", **condition
                )
                return Stored(answer["Body"].read(), answer["ETag"])
            except (
                botocore.exceptions.ReadTimeoutError,
                botocore.exceptions.ResponseStreamingError,
                botocore.exceptions.IncompleteReadError,
            ):
                if attempt == _ATTEMPTS:
                    raise
    raise AssertionError(uri)  # the last attempt returns or raises


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

    Raises:
        ConflictError: the condition did not hold: someone else wrote first.
    """
    if not is_s3(uri):
        return _write_local(_path(uri), data, if_absent=if_absent, if_match=if_match)
    bucket, key = _split(uri)
    condition: dict[str, Any] = {}
    if if_absent:
        condition["IfNoneMatch"] = "*"
    if if_match is not None:
        condition["IfMatch"] = if_match
    if content_type is not None:
        condition["ContentType"] = content_type
    with _translated(uri):
        return s3_client().put_object(Bucket=bucket, Key=key, Body=data, **condition)["ETag"]


def write_json(
    uri: str, value: object, *, if_absent: bool = False, if_match: str | None = None
) -> str:
    """Write a value as readable JSON with sorted keys; NaN and Infinity are refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return write(uri, f"{text}\n".encode(), if_absent=if_absent, if_match=if_match)


def list_files(uri: str) -> list[FileInfo]:
    """List every object below a prefix, in order of name; an absent prefix is empty."""
    if is_s3(uri):
        bucket, key = _split(uri.rstrip("/") + "/")
        pages = s3_client().get_paginator("list_objects_v2")
        with _translated(uri):
            return [
                FileInfo(f"s3://{bucket}/{item['Key']}", item["Size"])
                for page in pages.paginate(Bucket=bucket, Prefix=key)
                for item in page.get("Contents", [])
                if not item["Key"].endswith("/")
            ]
    root = _path(uri)
    # Hidden files are half-written ones, locks, and the checksums of Hadoop's local file system.
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [FileInfo(str(path), path.stat().st_size) for path in files]


def list_children(uri: str) -> list[str]:
    """List the names directly below a prefix (like ``ls``), sorted."""
    if is_s3(uri):
        bucket, key = _split(uri.rstrip("/") + "/")
        pages = s3_client().get_paginator("list_objects_v2")
        with _translated(uri):
            names = [
                name
                for page in pages.paginate(Bucket=bucket, Prefix=key, Delimiter="/")
                for name in (
                    *(item["Prefix"] for item in page.get("CommonPrefixes", [])),
                    *(item["Key"] for item in page.get("Contents", [])),
                )
            ]
        return sorted(name[len(key) :].strip("/") for name in names if name != key)
    root = _path(uri)
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def exists(uri: str) -> bool:
    """Tell whether an object is there."""
    if not is_s3(uri):
        return _path(uri).is_file()
    bucket, key = _split(uri)
    try:
        with _translated(uri):
            s3_client().head_object(Bucket=bucket, Key=key)
    except NotFoundError:
        return False
    return True


def delete(uri: str) -> None:
    """Delete one object; one that is not there is no error, as in S3."""
    with _translated(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            s3_client().delete_object(Bucket=bucket, Key=key)
        else:
            _path(uri).unlink(missing_ok=True)


def delete_prefix(uri: str) -> int:
    """Delete every object below a prefix and return how many there were."""
    files = list_files(uri)
    if not is_s3(uri):
        shutil.rmtree(_path(uri), ignore_errors=True)
        return len(files)
    with _translated(uri):
        for start in range(0, len(files), 1000):  # DeleteObjects takes 1,000 keys at most
            keys = [{"Key": _split(file.uri)[1]} for file in files[start : start + 1000]]
            bucket = _split(uri)[0]
            answer = s3_client().delete_objects(Bucket=bucket, Delete={"Objects": keys})  # type: ignore[typeddict-item]  # the stub wants a TypedDict
            if answer.get("Errors"):
                message = f"could not delete below {uri}: {answer['Errors'][0]}"
                raise StorageError(message)
    return len(files)


def upload(path: Path, uri: str, *, sha256: str | None = None) -> None:
    """Copy a local file to a URI, streaming; large files go up in parts, each with a checksum.

    Args:
        path: the file.
        uri: where it goes.
        sha256: its SHA-256 in hex, to be kept with the object for ``kept_sha256``.
    """
    if is_s3(uri):
        bucket, key = _split(uri)
        extra = {"Metadata": {_SHA256: sha256}} if sha256 else None
        with _translated(uri):
            s3_client().upload_file(str(path), bucket, key, ExtraArgs=extra)
        return
    target = _path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(target) as temporary:
        shutil.copyfile(path, temporary)


def kept_sha256(uri: str) -> str | None:
    """Return the SHA-256 of what is stored, without reading it from S3; None where nobody knows.

    S3 keeps what ``upload`` was told; a local file is read. An absent object has none.
    """
    try:
        if not is_s3(uri):
            return sha256(uri)
        bucket, key = _split(uri)
        with _translated(uri):
            found = s3_client().head_object(Bucket=bucket, Key=key)["Metadata"].get(_SHA256)
            return str(found) if found else None
    except NotFoundError:
        return None


def download(uri: str, path: Path) -> None:
    """Copy an object to a local file, streaming."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _translated(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            s3_client().download_file(bucket, key, str(path))
        else:
            shutil.copyfile(_path(uri), path)


def copy(source: str, target: str) -> None:
    """Copy one object; from S3 to S3 the bytes stay there, above 8 MB in parts.

    The target appears whole or not at all.

    Raises:
        NotFoundError: there is no source.
    """
    if is_s3(source) and is_s3(target):
        (from_bucket, from_key), (bucket, key) = _split(source), _split(target)
        with _translated(source):
            s3_client().copy({"Bucket": from_bucket, "Key": from_key}, bucket, key)
    elif is_s3(source):
        _path(target).parent.mkdir(parents=True, exist_ok=True)
        with _replacing(_path(target)) as temporary:
            download(source, temporary)
    else:
        with _translated(source):
            upload(_path(source), target)


def sha256(uri: str) -> str:
    """Hash an object with SHA-256, streaming, in lower-case hex."""
    digest = hashlib.sha256()
    with _translated(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            body = s3_client().get_object(Bucket=bucket, Key=key)["Body"]
            for chunk in body.iter_chunks(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
        with _path(uri).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Give a local directory with the files below a URI: the path itself, or a temporary copy."""
    if not is_s3(uri):
        yield _path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="recsys-") as directory:
        root = Path(directory)
        prefix = uri.rstrip("/") + "/"
        for file in list_files(uri):
            download(file.uri, root / file.uri.removeprefix(prefix))
        yield root


@functools.cache
def s3_client() -> S3Client:
    """Return the process's S3 client; boto3's clients are safe to share between threads.

    S3 answers in well under a second; a minute without a byte is a dead connection. Standard mode
    retries throttling, 5xx and lost connections (all safe: every write here is a whole object)
    and never a 4xx, because the same request would fail again.
    """
    import boto3  # here: half a second that a DAG file does not have at parse time
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": 5}
    return boto3.client("s3", config=Config(connect_timeout=10, read_timeout=60, retries=retries))


def _split(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri, allow_fragments=False)
    return parts.netloc, parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")


def _path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _write_local(path: Path, data: bytes, *, if_absent: bool, if_match: str | None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One lock per directory stands in for S3's atomic conditional write.
    with (path.parent / ".lock").open("w") if if_absent or if_match else _no_lock() as lock:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if if_absent and path.exists():
            message = f"{path} exists already: another writer was first"
            raise ConflictError(message)
        if if_match and (not path.exists() or _etag(path.read_bytes()) != if_match):
            message = f"{path} is not what was read ({if_match}): another writer was first"
            raise ConflictError(message)
        with _replacing(path) as temporary:
            temporary.write_bytes(data)
    return _etag(data)


@contextmanager
def _no_lock() -> Iterator[None]:
    yield None


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Write beside the target and rename: a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turn botocore's and the disk's errors into ours, with the URI in the message."""
    if is_s3(uri):
        with _s3_errors(uri):
            yield
        return
    try:
        yield
    except FileNotFoundError as error:
        message = f"expected a file at {uri}, found none"
        raise NotFoundError(message) from error
    except OSError as error:
        message = f"could not read or write {uri}: {error}"
        raise StorageError(message) from error


@contextmanager
def _s3_errors(uri: str) -> Iterator[None]:
    import botocore.exceptions

    try:
        yield
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING_CODES:
            message = f"expected an object at {uri}, found none ({code})"
            raise NotFoundError(message) from error
        if code in _LOST_RACE_CODES:
            message = f"{uri} is not what was read ({code}): another writer was first"
            raise ConflictError(message) from error
        message = f"S3 refused {uri}: {error}"
        raise StorageError(message) from error
    except botocore.exceptions.BotoCoreError as error:
        message = (
            f"S3 could not be reached for {uri}: {error}. "
            "Check the network, the region and the credentials."
        )
        raise StorageError(message) from error

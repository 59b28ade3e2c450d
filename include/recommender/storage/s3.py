"""Objects in S3, through boto3: the one module of the product that imports it.

The endpoint, the region and the credentials come from the environment as boto3 reads them
(``AWS_ENDPOINT_URL`` and so on), so nothing here knows whether the AWS behind it is real.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from recommender.errors import ConfigError, ConflictError, NotFoundError, StorageError
from recommender.storage.objects import FileInfo, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 4  # of reading one piece whose connection breaks off
_SHA256 = "sha256"  # of an object's metadata
_MISSING_CODES = {"404", "NoSuchKey", "NotFound"}
_LOST_RACE_CODES = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}


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


def read(uri: str) -> Stored:
    """Read a whole object."""
    return _get(uri)


def read_if_changed(uri: str, etag: str) -> Stored | None:
    """Read an object unless it is still the one with this ETag: one small request a look."""
    import botocore.exceptions

    bucket, key = split(uri)
    with _translated(uri):
        try:
            answer = s3_client().get_object(Bucket=bucket, Key=key, IfNoneMatch=etag)
        except botocore.exceptions.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 304:
                return None
            raise
        return Stored(answer["Body"].read(), answer["ETag"])


def read_head(file: FileInfo, size: int) -> bytes:
    """Read the first bytes of an object."""
    return _get(file.uri, Range=f"bytes=0-{size - 1}").data


@contextmanager
def open_read(file: FileInfo, piece: int) -> Iterator[BinaryIO]:
    """Open an object to be read in order or by seeking, a piece of it a request."""
    with io.BufferedReader(_Pieces(file), piece) as stream:
        yield stream


class _Pieces(io.RawIOBase):
    """Read an object in ranges; all have to be of the object that was begun."""

    def __init__(self, file: FileInfo) -> None:
        self._file, self._position, self._etag = file, 0, cast("str | None", None)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}
        self._position = origin[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the base class's writable buffer
        size = min(len(buffer), self._file.size - self._position)
        if size <= 0:
            return 0
        condition = {} if self._etag is None else {"IfMatch": self._etag}
        last = self._position + size - 1
        piece = _get(self._file.uri, Range=f"bytes={self._position}-{last}", **condition)
        buffer[: len(piece.data)] = piece.data
        self._etag = piece.etag
        self._position += len(piece.data)
        return len(piece.data)


def _get(uri: str, **options: Any) -> Stored:  # noqa: ANN401 - boto3's own keywords
    """Get an object or a range of it; again when its connection breaks off.

    boto3 retries the request by itself, but not a body that is lost midway.
    """
    import botocore.exceptions

    bucket, key = split(uri)
    for attempt in range(1, _ATTEMPTS + 1):
        with _translated(uri):
            try:
                answer = s3_client().get_object(Bucket=bucket, Key=key, **options)
                return Stored(answer["Body"].read(), answer["ETag"])
            except (
                botocore.exceptions.ReadTimeoutError,
                botocore.exceptions.ResponseStreamingError,
                botocore.exceptions.IncompleteReadError,
            ):
                if attempt == _ATTEMPTS:
                    raise
    raise AssertionError(uri)  # the last attempt returns or raises


def write(
    uri: str, data: bytes, *, if_absent: bool, if_match: str | None, content_type: str | None
) -> str:
    """Write a whole object, under a condition that S3 itself holds."""
    bucket, key = split(uri)
    options: dict[str, Any] = {}
    if if_absent:
        options["IfNoneMatch"] = "*"
    if if_match is not None:
        options["IfMatch"] = if_match
    if content_type is not None:
        options["ContentType"] = content_type
    with _translated(uri):
        return s3_client().put_object(Bucket=bucket, Key=key, Body=data, **options)["ETag"]


def list_files(uri: str) -> list[FileInfo]:
    """List every object below a prefix, in order of name."""
    bucket, key = split(uri.rstrip("/") + "/")
    pages = s3_client().get_paginator("list_objects_v2")
    with _translated(uri):
        return [
            FileInfo(f"s3://{bucket}/{item['Key']}", item["Size"])
            for page in pages.paginate(Bucket=bucket, Prefix=key)
            for item in page.get("Contents", [])
            if not item["Key"].endswith("/")
        ]


def list_children(uri: str) -> list[str]:
    """List the names directly below a prefix, sorted."""
    bucket, key = split(uri.rstrip("/") + "/")
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


def exists(uri: str) -> bool:
    """Tell whether an object is there."""
    return _head(uri) is not None


def delete(uri: str) -> None:
    """Delete one object."""
    bucket, key = split(uri)
    with _translated(uri):
        s3_client().delete_object(Bucket=bucket, Key=key)


def delete_prefix(uri: str) -> int:
    """Delete every object below a prefix and return how many there were."""
    files = list_files(uri)
    bucket = split(uri)[0]
    with _translated(uri):
        for start in range(0, len(files), 1000):  # DeleteObjects takes 1,000 keys at most
            keys = [{"Key": split(file.uri)[1]} for file in files[start : start + 1000]]
            answer = s3_client().delete_objects(Bucket=bucket, Delete={"Objects": keys})  # type: ignore[typeddict-item]  # the stub wants a TypedDict
            if answer.get("Errors"):
                message = f"could not delete below {uri}: {answer['Errors'][0]}"
                raise StorageError(message)
    return len(files)


def upload(source: Path, uri: str, digest: str | None) -> None:
    """Copy a file to S3; large ones go up in parts, each with a checksum."""
    bucket, key = split(uri)
    extra = {"Metadata": {_SHA256: digest}} if digest else None
    with _translated(uri):
        s3_client().upload_file(str(source), bucket, key, ExtraArgs=extra)


def kept_sha256(uri: str) -> str | None:
    """Return the SHA-256 that ``upload`` was told."""
    head = _head(uri)
    found = head["Metadata"].get(_SHA256) if head else None
    return str(found) if found else None


def download(uri: str, target: Path) -> None:
    """Copy an object to a local file, streaming."""
    bucket, key = split(uri)
    with _translated(uri):
        s3_client().download_file(bucket, key, str(target))


def copy(source: str, target: str) -> None:
    """Copy one object; the bytes stay in S3, above 8 MB in parts."""
    (from_bucket, from_key), (bucket, key) = split(source), split(target)
    with _translated(source):
        s3_client().copy({"Bucket": from_bucket, "Key": from_key}, bucket, key)


def sha256(uri: str) -> str:
    """Hash an object with SHA-256, streaming, in lower-case hex."""
    bucket, key = split(uri)
    digest = hashlib.sha256()
    with _translated(uri):
        body = s3_client().get_object(Bucket=bucket, Key=key)["Body"]
        for chunk in body.iter_chunks(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of a URI."""
    parts = urlsplit(uri, allow_fragments=False)
    return parts.netloc, parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")


def _head(uri: str) -> dict[str, Any] | None:
    bucket, key = split(uri)
    try:
        with _translated(uri):
            return dict(s3_client().head_object(Bucket=bucket, Key=key))
    except NotFoundError:
        return None


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turn botocore's errors into ours, with the URI in the message."""
    import botocore.exceptions

    try:
        yield
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":  # a name is wrong, and stays so at the next attempt
            message = (
                f"expected bucket {split(uri)[0]} for {uri}, found none: the environment's lake, work "
                "and models name the buckets; create it, or name another environment"
            )
            raise ConfigError(message) from error
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

"""Give moto's objects and uploads a file each instead of memory."""

import datetime
import hashlib
from collections.abc import Iterator
from typing import Any, Self

from moto.s3 import models
from moto.s3.exceptions import EntityTooSmall, InvalidPart, MalformedXML
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

from localaws.s3_content import CHECKSUMS, FileContent, stage
from localaws.s3_index import Record, Stored
from localaws.s3_store import Store

# moto's methods pass arguments through that it does not type; naming them again would tie this module to
# one moto version for nothing.
Untyped = Any

# moto's attributes of a key that a restart must not lose, beside its metadata and tags.
_PERSISTENT = (
    "_storage_class",
    "checksum_algorithm",
    "checksum_value",
    "checksum_type",
    "checksum_parts",
    "encryption",
    "kms_key_id",
    "website_redirect_location",
)


class FileKey(models.FakeKey):
    """An object whose bytes are a file."""

    # moto files its classes by the second part of the module's name.
    __module__ = "moto.s3.models"

    def __new__(cls, *_args: Untyped, **_kwargs: Untyped) -> Self:
        """Create without moto's list of all instances ever, which never shrinks."""
        return object.__new__(cls)

    def __init__(self, name: str, value: Stored, **kwargs: Untyped) -> None:
        self.stored = value
        kwargs["etag"] = kwargs.get("etag") or value.md5
        super().__init__(name, b"", **kwargs)
        self.contentsize = value.size

    @property  # type: ignore[override]  # moto slices, measures and iterates it: no bytes needed
    def value(self) -> FileContent:
        """Open the bytes."""
        return FileContent(self.stored.path)

    @value.setter
    def value(self, _: bytes) -> None:
        """Ignore the empty value that moto's constructor sets: `stored` holds the bytes."""

    def dispose(self, garbage: bool = False) -> None:  # noqa: ARG002  (moto's signature)
        """Release memory; files are removed by the backend, which knows whether they are replaced."""
        if not self.disposed:
            self.disposed = True
            self._value_buffer.close()

    def record(self, tags: dict[str, str]) -> Record:
        """Return what the index keeps of this key."""
        modified = self.last_modified.replace(tzinfo=datetime.UTC)
        return Record(
            stored=self.stored,
            etag=str(self._etag),
            last_modified=modified.timestamp(),
            metadata={name: str(value) for name, value in self.metadata.items()},
            attributes={name: getattr(self, name) for name in _PERSISTENT},
            tags=tags,
        )

    def restore_record(self, record: Record) -> None:
        """Take over what the index kept."""
        self.last_modified = datetime.datetime.fromtimestamp(
            record.last_modified, tz=datetime.UTC
        ).replace(tzinfo=None)
        self.set_metadata(dict(record.metadata), replace=True)
        for name, value in record.attributes.items():
            setattr(self, name, value)


class FileMultipart(models.FakeMultipart):
    """An upload whose parts are staged files."""

    __module__ = "moto.s3.models"

    checksum: tuple[str, str] | None = None

    def __new__(cls, *_args: Untyped, **_kwargs: Untyped) -> Self:
        """Create without moto's list of all instances ever, which never shrinks."""
        return object.__new__(cls)

    def join(self, store: Store, listed: Iterator[tuple[int, str]]) -> tuple[Stored, str]:
        """Concatenate the listed parts into one staged file.

        Returns:
            The file, and the ETag: the MD5 of the parts' MD5s, a dash and their number.

        Raises:
            InvalidPart, EntityTooSmall, MalformedXML: as S3 refuses.
        """
        parts: list[FileKey] = []
        for number, etag in listed:
            part = self.parts.get(number)
            if part is None or part.etag.strip('"') != etag.strip('"'):
                raise InvalidPart
            if parts and parts[-1].contentsize < S3_UPLOAD_PART_MIN_SIZE:
                raise EntityTooSmall
            parts.append(part)  # type: ignore[arg-type]  # moto makes them with the patched FakeKey
        if not parts:
            raise MalformedXML
        algorithm = str(self.metadata.get("x-amz-checksum-algorithm", "")).upper()
        whole, checksums = stage(
            (block for part in parts for block in part.value),
            store.layout.staging,
            {algorithm} & CHECKSUMS.keys(),
        )
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        self.checksum = (algorithm, checksums[algorithm]) if algorithm in checksums else None
        return whole, f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"

    def dispose(self) -> None:
        """Delete the parts' files."""
        for part in self.parts.values():
            part.stored.path.unlink(missing_ok=True)  # type: ignore[attr-defined]  # parts are FileKeys
        super().dispose()

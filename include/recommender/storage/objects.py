"""The records of the storage: what a listing and a reading return."""

from __future__ import annotations

from dataclasses import dataclass


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

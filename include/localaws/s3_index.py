"""Keep each object's metadata in SQLite, so that a kill at any moment loses and mixes nothing.

An object is written in two steps: first its row, then its file by rename. The row keeps the record it
replaces, so after a kill between the two the file on disk says which of them holds.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, region TEXT, created REAL);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT, key TEXT, record TEXT NOT NULL, replaced TEXT, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Stored:
    """One file that holds an object's bytes, as it looked when its digest was taken.

    Attributes:
        path: the file.
        size: bytes.
        mtime_ns: modification time in nanoseconds; with the size it tells whether Spark changed it.
        md5: hexadecimal MD5 of the bytes.
    """

    path: Path
    size: int
    mtime_ns: int
    md5: str

    def holds(self) -> bool:
        """Tell whether the file is there and unchanged."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class Record:
    """What the index keeps of one object.

    Attributes:
        stored: its file.
        etag: without quotes; differs from the MD5 for multipart uploads.
        last_modified: seconds since the epoch.
        metadata: headers as moto keeps them: content type, ``x-amz-meta-*``.
        attributes: checksum, storage class and encryption, by moto's attribute names.
        tags: object tags.
    """

    stored: Stored
    etag: str
    last_modified: float
    metadata: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def to_json(self, root: Path) -> str:
        """Serialise with the path relative to the data directory, which may move."""
        document = asdict(self)
        document["stored"]["path"] = str(self.stored.path.relative_to(root))
        return json.dumps(document, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str, root: Path) -> "Record":
        """Read what `to_json` wrote."""
        document = json.loads(text)
        stored = document.pop("stored")
        return cls(stored=Stored(**{**stored, "path": root / stored["path"]}), **document)


class Index:
    """The SQLite file. Not thread-safe by itself: the store's lock guards it."""

    def __init__(self, path: Path, root: Path) -> None:
        self._root = root
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL with NORMAL: a killed process loses nothing, a power cut may lose the last moments.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add_bucket(self, name: str, region: str, created: float) -> None:
        """Remember a bucket."""
        self._db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (name, region, created))

    def remove_bucket(self, name: str) -> None:
        """Forget a bucket and whatever was left of it."""
        self._db.execute("DELETE FROM objects WHERE bucket = ?", (name,))
        self._db.execute("DELETE FROM buckets WHERE name = ?", (name,))

    def buckets(self) -> list[tuple[str, str, float]]:
        """Return name, region and creation time of each bucket."""
        return self._db.execute("SELECT name, region, created FROM buckets").fetchall()

    def put(self, bucket: str, key: str, record: Record) -> None:
        """Write the record of an object whose file is about to be renamed into place."""
        self._db.execute(
            "INSERT INTO objects VALUES (?, ?, ?, NULL) ON CONFLICT (bucket, key) "
            "DO UPDATE SET replaced = record, record = excluded.record",
            (bucket, _text(key), record.to_json(self._root)),
        )

    def remove(self, bucket: str, key: str) -> None:
        """Forget an object."""
        self._db.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, _text(key)))

    def objects(self, bucket: str) -> Iterator[tuple[str, Record, Record | None]]:
        """Yield key, record and the record it replaced (if any) of a bucket's objects."""
        rows = self._db.execute(
            "SELECT key, record, replaced FROM objects WHERE bucket = ?", (bucket,)
        ).fetchall()
        for key, record, replaced in rows:
            yield (
                json.loads(key),
                Record.from_json(record, self._root),
                Record.from_json(replaced, self._root) if replaced else None,
            )


def _text(key: str) -> str:
    """Encode a key as ASCII JSON: SQLite refuses lone surrogates, which S3 clients can produce."""
    return json.dumps(key)

"""Decide in which file an object's bytes live.

Most objects live in the mirror, ``<data-dir>/s3/<bucket>/<key>``, where Spark reads and writes them.
A key that cannot be that path, or whose name Hadoop keeps for itself, lives under
``<data-dir>/side/<bucket>/<sha256 of the key>``: S3 clients see no difference, Spark does not see it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

# A file name's limit on ext4, XFS and APFS, in bytes; a path's is 4,096 on Linux and 1,024 on macOS.
# Hadoop writes `.name.crc` beside a file, which takes five more bytes.
MAX_NAME_BYTES = 250
MAX_PATH_BYTES = 900


def is_hadoop_scratch(name: str) -> bool:
    """Tell whether a file or directory name is Hadoop's or Spark's own scratch, never an object."""
    return name.startswith(("_temporary", ".spark-staging")) or (
        name.startswith(".") and name.endswith(".crc")
    )


def is_path_key(key: str) -> bool:
    """Tell whether a key can be a relative file path that Spark lists under the same name."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:  # lone surrogates, from a percent-encoded key that is not UTF-8
        return False
    if "\0" in key or length > MAX_PATH_BYTES:
        return False
    return all(
        part not in {"", ".", ".."}
        and len(part.encode()) <= MAX_NAME_BYTES
        and not is_hadoop_scratch(part)
        for part in key.split("/")
    )


@dataclass(frozen=True)
class Layout:
    """Build every path under one data directory."""

    root: Path

    @property
    def mirror(self) -> Path:
        """Return the directory of the mirrors; Spark mounts ``<mirror>/<bucket>``."""
        return self.root / "s3"

    @property
    def staging(self) -> Path:
        """Return where bytes arrive before they are renamed into place; same file system."""
        return self.root / "incoming"

    @property
    def index(self) -> Path:
        """Return the SQLite file with each object's metadata."""
        return self.root / "objects.sqlite"

    @property
    def clusters(self) -> Path:
        """Return the directory of cluster documents."""
        return self.root / "clusters"

    @property
    def work(self) -> Path:
        """Return the directory that holds each running step's working directory."""
        return self.root / "steps"

    def bucket(self, bucket: str) -> Path:
        """Return a bucket's mirror."""
        return self.mirror / bucket

    def mirror_file(self, bucket: str, key: str) -> Path:
        """Return the key's place in the mirror; only for keys that pass `is_path_key`."""
        return self.bucket(bucket) / key

    def side_file(self, bucket: str, key: str) -> Path:
        """Return the key's place outside the mirror."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self.root / "side" / bucket / digest

    def place(self, bucket: str, key: str) -> Path:
        """Choose the file for an object about to be written.

        S3 allows `a` beside `a/b`, a file system does not: whichever came first keeps the mirror.
        """
        if not is_path_key(key):
            return self.side_file(bucket, key)
        path = self.mirror_file(bucket, key)
        if path.is_dir() and not _remove_if_empty(path):
            return self.side_file(bucket, key)
        ancestor = path.parent
        while ancestor != self.bucket(bucket):
            if ancestor.is_file():
                return self.side_file(bucket, key)
            ancestor = ancestor.parent
        return path


def checksum_file(path: Path) -> Path:
    """Return the `.crc` that Hadoop's LocalFileSystem keeps beside a file."""
    return path.with_name(f".{path.name}.crc")


def remove_empty_parents(path: Path, stop: Path) -> None:
    """Remove the directories above a deleted object that hold nothing more: S3 has none."""
    parent = path.parent
    while parent != stop and stop in parent.parents:
        try:
            parent.rmdir()
        except OSError:  # not empty: an object lives here
            return
        parent = parent.parent


def _remove_if_empty(directory: Path) -> bool:
    """Remove a tree of empty directories; False, and nothing lost, when a file is in it."""
    for child in sorted(directory.rglob("*"), reverse=True):
        if not child.is_dir():
            return False
        child.rmdir()
    directory.rmdir()
    return True

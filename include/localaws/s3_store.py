"""Keep objects as files that both S3 clients and Spark read and write.

The mirror *is* the store: nothing is copied before or after a Spark step. What Spark wrote or deleted is
noticed by comparing files with the index: one `stat` when a key is asked for, one walk of the bucket when
it is listed while a step runs, and one when a step has ended.
"""

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from localaws.s3_content import stage, stored_file
from localaws.s3_index import Index, Record, Stored
from localaws.s3_layout import (
    Layout,
    checksum_file,
    is_hadoop_scratch,
    is_path_key,
    remove_empty_parents,
)

DEFAULT_CONTENT_TYPE = "binary/octet-stream"


class DataDirectoryError(RuntimeError):
    """The data directory cannot be used."""


class Store:
    """Files and index of one data directory.

    Attributes:
        layout: where things are.
        lock: held through every S3 operation but the transfer of bytes, so that a conditional write's
            check and its write are one.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root.resolve())
        self.lock = threading.RLock()
        self._steps = 0
        self._claim = _claim(self.layout.root)
        # Bodies half received by a killed process, and its steps' directories.
        for leftover in (self.layout.staging, self.layout.work):
            shutil.rmtree(leftover, ignore_errors=True)
        for directory in (self.layout.mirror, self.layout.staging, self.layout.clusters):
            directory.mkdir(parents=True, exist_ok=True)
        self.index = Index(self.layout.index, self.layout.root)

    @property
    def steps_running(self) -> bool:
        """Tell whether a step may be changing the mirror right now."""
        return self._steps > 0

    @contextmanager
    def step_running(self) -> Iterator[None]:
        """Mark the time in which a step may change the mirror."""
        with self.lock:
            self._steps += 1
        try:
            yield
        finally:
            with self.lock:
                self._steps -= 1

    def stage_bytes(self, content: bytes) -> Stored:
        """Write bytes to a staged file."""
        return stage([content], self.layout.staging)[0]

    def commit(self, bucket: str, key: str, record: Record, old: Stored | None) -> Record:
        """Make a staged object the key's one: row first, then file (see `s3_index`).

        Args:
            bucket: an existing bucket.
            key: any key.
            record: with `stored` in the staging directory.
            old: the file that the key has now.

        Returns:
            The record with the file's final place.
        """
        staged = record.stored.path
        final = replace(record, stored=replace(record.stored, path=self.layout.place(bucket, key)))
        path = final.stored.path
        self.index.put(bucket, key, final)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Hadoop verifies a file against the `.crc` beside it: one left by Spark would condemn these bytes.
        checksum_file(path).unlink(missing_ok=True)
        staged.replace(path)
        if old is not None and old.path != path:
            old.path.unlink(missing_ok=True)
        return final

    def remove(self, bucket: str, key: str, stored: Stored) -> None:
        """Delete an object's file and row; safe in any order of failure, as a row alone is dropped."""
        stored.path.unlink(missing_ok=True)
        self.index.remove(bucket, key)
        mirror = self.layout.bucket(bucket)
        if mirror in stored.path.parents:
            checksum_file(stored.path).unlink(missing_ok=True)
            if not self.steps_running:  # Spark may just have made the directory it is to write in
                remove_empty_parents(stored.path, mirror)

    def set_aside(self, bucket: str, key: str, stored: Stored) -> Stored:
        """Move a superseded version's file out of the mirror."""
        path = self.layout.side_file(bucket, f"{key}\0{time.time_ns()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        stored.path.replace(path)
        return replace(stored, path=path)

    def remove_bucket(self, bucket: str) -> None:
        """Delete an empty bucket and Spark's leftovers in it."""
        self.index.remove_bucket(bucket)
        shutil.rmtree(self.layout.bucket(bucket), ignore_errors=True)
        shutil.rmtree(self.layout.root / "side" / bucket, ignore_errors=True)

    def load(self, bucket: str) -> dict[str, Record]:
        """Return a bucket's objects as a previous process left them, by key."""
        found = {}
        for key, record, replaced in list(self.index.objects(bucket)):
            if record.stored.holds():
                found[key] = record
            elif replaced is not None and replaced.stored.holds():
                found[key] = replaced  # killed between row and rename: the old object stands
                self.index.put(bucket, key, replaced)
            elif record.stored.path.is_file():
                found[key] = self.adopt(bucket, key, record.stored.path, record)
            else:
                self.index.remove(bucket, key)
        return found

    def adopt(self, bucket: str, key: str, path: Path, known: Record | None = None) -> Record:
        """Take up a file that Spark (or a restored backup) put in the mirror.

        Bytes equal to the known ones keep their metadata: only the file's time changed.
        """
        stored = stored_file(path)
        if known is not None and known.stored.md5 == stored.md5:
            record = replace(known, stored=stored)
        else:
            record = Record(
                stored=stored,
                etag=stored.md5,
                last_modified=stored.mtime_ns / 1e9,
                metadata={"content-type": DEFAULT_CONTENT_TYPE},
            )
        self.index.put(bucket, key, record)
        return record

    def files(self, bucket: str) -> Iterator[tuple[str, Path, os.stat_result]]:
        """Walk a bucket's mirror; yield key, file and its state for everything that is an object."""
        mirror = self.layout.bucket(bucket)
        for directory, subdirectories, names in os.walk(mirror):
            subdirectories[:] = [name for name in subdirectories if not is_hadoop_scratch(name)]
            for name in names:
                path = Path(directory, name)
                key = path.relative_to(mirror).as_posix()
                if not is_path_key(key):
                    continue
                try:
                    state = path.lstat()
                except FileNotFoundError:  # Spark renamed it meanwhile
                    continue
                if path.is_symlink():
                    continue
                yield key, path, state

    def sweep(self, bucket: str) -> None:
        """Remove what dead Spark steps left in a mirror: scratch, orphaned `.crc`, empty directories.

        S3 shows none of it, and Spark would take an empty directory for existing output. Does nothing
        while a step runs.
        """
        if self.steps_running:
            return
        mirror = self.layout.bucket(bucket)
        for directory, _, names in os.walk(mirror, topdown=False):
            here = Path(directory)
            if here != mirror and is_hadoop_scratch(here.name):
                shutil.rmtree(here, ignore_errors=True)
                continue
            present = set(names)
            for name in names:
                if is_hadoop_scratch(name) and name[1 : -len(".crc")] not in present:
                    Path(here, name).unlink(missing_ok=True)
            if here != mirror and not any(here.iterdir()):
                here.rmdir()

    def close(self) -> None:
        """Close the index."""
        with self.lock:
            self.index.close()
            self._claim.close()


def _claim(root: Path) -> IO[bytes]:
    """Take the data directory for this process; the lock ends with it, however it ends.

    Raises:
        DataDirectoryError: another process has it; two would undo each other's objects.
    """
    root.mkdir(parents=True, exist_ok=True)
    file = (root / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DataDirectoryError(
            f"expected {root} to be free, found another embedded AWS on it: stop that one, or use "
            "another --data-dir"
        ) from error
    return file

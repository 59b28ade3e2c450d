"""Move object bytes between sockets and files in blocks, never whole in memory."""

import base64
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from localaws.s3_index import Stored

BLOCK_BYTES = 1024 * 1024


class Hasher(Protocol):
    """What hashlib's objects and `Crc32` have in common."""

    def update(self, block: bytes, /) -> None:
        """Take the next block."""

    def digest(self) -> bytes:
        """Return the digest of all blocks so far."""


class Crc32:
    """CRC-32 with hashlib's interface."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes, /) -> None:
        """Take the next block."""
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        """Return four bytes, big-endian, as S3 wants them."""
        return self._value.to_bytes(4, "big")


# S3's checksum algorithms that the standard library computes. CRC32C and CRC64NVME need a native
# library that is not a dependency: their values are stored and returned as sent, not verified.
CHECKSUMS: dict[str, Callable[[], Hasher]] = {
    "CRC32": Crc32,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}


class FileContent:
    """A slice of a file's bytes, opened now and read while it is sent.

    The open file keeps its bytes when the object is overwritten by rename meanwhile. It offers what
    moto asks of a body (`len`, slicing, iteration), so that moto's range handling works on it.
    """

    def __init__(self, path: Path, start: int = 0, stop: int | None = None) -> None:
        self._path = path
        self._file = path.open("rb")
        self._start = start
        self._stop = os.fstat(self._file.fileno()).st_size if stop is None else stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> "FileContent":
        start, stop, _ = part.indices(len(self))
        return FileContent(self._path, self._start + start, self._start + max(start, stop))

    def __iter__(self) -> Iterator[bytes]:
        position = self._start
        while position < self._stop:
            wanted = min(BLOCK_BYTES, self._stop - position)
            block = os.pread(self._file.fileno(), wanted, position)
            if not block:
                # The length is already on the wire: only a cut connection tells the client.
                raise OSError(
                    f"{self._path} shrank while it was read: expected {self._stop} bytes, found {position}"
                )
            position += len(block)
            yield block

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def stage(
    blocks: Iterable[bytes], directory: Path, checksums: Iterable[str] = ()
) -> tuple[Stored, dict[str, str]]:
    """Write blocks to a new file and digest them on the way.

    Args:
        blocks: the bytes.
        directory: where the file is made; on the file system of its later place.
        checksums: names of `CHECKSUMS` to compute.

    Returns:
        The staged file, and each checksum in base64.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    others = {name: CHECKSUMS[name]() for name in checksums}
    descriptor, name = tempfile.mkstemp(dir=directory)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for block in blocks:
                file.write(block)
                md5.update(block)
                for hasher in others.values():
                    hasher.update(block)
        # mkstemp makes files private; steps that run as another user must be able to read objects.
        path.chmod(0o644)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    encoded = {name: base64.b64encode(hasher.digest()).decode() for name, hasher in others.items()}
    return stored_file(path, md5.hexdigest()), encoded


def stored_file(path: Path, md5: str | None = None) -> Stored:
    """Describe a file, digesting it unless its MD5 is known.

    The file's state is taken before it is read: a write in between shows as a change next time.
    """
    state = path.stat()
    return Stored(
        path=path,
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        md5=md5 if md5 is not None else file_digest(path, "md5"),
    )


def file_digest(path: Path, algorithm: str) -> str:
    """Return a file's digest in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()

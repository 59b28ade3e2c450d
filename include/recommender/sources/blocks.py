"""Read the lines of many files on one machine as blocks of bytes, with the place of each line.

Reading, decompressing and checking UTF-8 go on in threads beside whoever takes the blocks; what is
held at a time is a few blocks, however large the files are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recommender import storage
from recommender.errors import BadDataError, TornFileError
from recommender.sources.gunzip import GzipFaultError, gunzip
from recommender.sources.peek import is_gzip_name
from recommender.storage import FileInfo

_CHUNK = 8 << 20  # bytes of text: some 15,000 reviews, enough to make the cost of a block vanish
_LONGEST = 1 << 30  # a line beyond this is a file without lines; offsets are int32
_AHEAD = 4  # blocks ready and not yet taken
_READERS = 4  # files read at a time: more only wait for the same disk, network or cores
_MARK = b"\xef\xbb\xbf"
_NEWLINE = 10


@dataclass(frozen=True)
class Block:
    """Hold whole lines of one file.

    Attributes:
        file: the file's name, URL-encoded as Spark gives it.
        first: number of lines before this block.
        lines: the lines, each with its newline, valid UTF-8; over the bytes as they were read.
    """

    file: str
    first: int
    lines: pa.StringArray


class Reader:
    """Iterate over the blocks of files; those of a file come in order, files side by side.

    Its threads end with the iteration, however that ends.

    Attributes:
        error: what ended the reading; who takes the blocks through foreign code finds it here.
    """

    def __init__(self, files: Sequence[FileInfo]) -> None:
        self._files = iter(files)
        self._lock = threading.Lock()
        self._found: SimpleQueue[Block | BaseException | None] = SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._threads = [
            threading.Thread(target=self._work, name="blocks", daemon=True)
            for _ in range(min(_READERS, len(files)))
        ]
        self._over = False
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Block]:
        for thread in self._threads:
            thread.start()
        at_work = len(self._threads)
        try:
            while at_work:
                found = self._found.get()
                if found is None:
                    at_work -= 1
                elif isinstance(found, BaseException):
                    self.error = found
                    raise found
                else:
                    self._room.release()
                    yield found
        finally:
            self._over = True
            self._room.release(len(self._threads))  # who waits for room sees that it is over

    def _work(self) -> None:
        try:
            while (file := self._next_file()) is not None:
                for block in read_blocks(file):
                    self._room.acquire()
                    if self._over:
                        return
                    self._found.put(block)
        except BaseException as error:  # noqa: BLE001 - handed to who iterates, and raised there
            self._found.put(error)
        else:
            self._found.put(None)

    def _next_file(self) -> FileInfo | None:
        with self._lock:
            return next(self._files, None)


def read_blocks(file: FileInfo) -> Iterator[Block]:
    """Read one file as blocks of whole lines.

    Raises:
        TornFileError: a gzip ends in mid-stream or is damaged.
        BadDataError: a line has no end.
    """
    name = quote(file.uri.rsplit("/", 1)[-1])
    chunks: Iterable[bytes] = storage.read_chunks(file, _CHUNK)
    if is_gzip_name(name):
        chunks = gunzip(chunks, _CHUNK)
    lines = 0
    try:
        for data in _whole_lines(chunks, file.uri):
            found = _lines(data.removeprefix(_MARK) if not lines else data)
            yield Block(name, lines, found)
            lines += len(found)
    except GzipFaultError as error:
        message = f"{file.uri}: {error}"
        raise TornFileError(message) from error


def _whole_lines(chunks: Iterable[bytes], uri: str) -> Iterator[bytes]:
    """Cut chunks where lines end; the last line gets its newline."""
    rest: list[bytes] = []
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join((*rest, memoryview(chunk)[:end]))
            rest = [chunk[end:]]
            continue
        rest.append(chunk)
        if sum(map(len, rest)) > _LONGEST:
            message = (
                f"{uri}: expected one JSON object a line, found {_LONGEST:,} bytes without the end "
                "of a line. Write one object a line."
            )
            raise BadDataError(message)
    last = b"".join(rest)
    if last:
        yield last + b"\n"


def _lines(data: bytes) -> pa.StringArray:
    """Lay an array over the lines; what is no UTF-8 becomes U+FFFD, as ``careful.read`` does it."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
    offsets: npt.NDArray[np.int32] = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends + 1
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        return _lines(data.decode("utf-8", "replace").encode())
    return lines

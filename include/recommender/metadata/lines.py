"""Cut files of lines into blocks that worker processes parse, whatever the files' number and size."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from recommender.errors import BadDataError
from recommender.metadata.literals import MAX_BYTES

_BLOCK_BYTES = 4 << 20  # about half a second of parsing Python literals


@dataclass(frozen=True)
class Block:
    """Hold consecutive lines of one file.

    Attributes:
        file: name of the file, for the quarantine.
        first: 1-based number of the first line.
        lines: without their ends; one longer than ``MAX_BYTES`` is cut one byte after it.
    """

    file: str
    first: int
    lines: tuple[bytes, ...]


def read_blocks(name: str, stream: BinaryIO) -> Iterator[Block]:
    """Cut a file into blocks; memory holds one of them.

    Args:
        name: the file's name; one that ends in ``.gz`` is decompressed.
        stream: its bytes as stored.

    Raises:
        BadDataError: a gzip ends in mid-stream or is damaged.
    """
    if not name.endswith(".gz"):
        yield from _blocks(name, stream)
        return
    try:
        with gzip.open(stream) as unpacked:
            yield from _blocks(name, unpacked)  # type: ignore[arg-type]  # GzipFile reads like one
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = (
            f"items/{name}: expected a whole gzip, found one that is cut or damaged ({error}): "
            "upload it again"
        )
        raise BadDataError(message) from error


def _blocks(name: str, stream: BinaryIO) -> Iterator[Block]:
    first, size, lines = 1, 0, list[bytes]()
    for line in _lines(stream):
        lines.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield Block(name, first, tuple(lines))
            first, size, lines = first + len(lines), 0, []
    if lines:
        yield Block(name, first, tuple(lines))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one without end only the beginning is kept in memory."""
    while line := stream.readline(MAX_BYTES + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := stream.readline(MAX_BYTES)):
            pass
        yield line.rstrip(b"\r\n")

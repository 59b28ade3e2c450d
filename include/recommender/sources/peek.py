"""Look into files without reading them whole: what they are, and whether a gzip is intact."""

from __future__ import annotations

import gzip
import io
import zlib

from recommender import storage
from recommender.sources.gunzip import GzipFaultError, gunzip
from recommender.storage import FileInfo

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 4 << 20

# How a file begins that is not what its name says.
_DISGUISES = (
    (b"version https://git-lfs", "a git-LFS pointer; fetch the real file (git lfs pull)"),
    (b"<!doctype html", "an HTML page, probably a download's error message"),
    (b"<html", "an HTML page, probably a download's error message"),
    (b"<?xml", "an XML document, probably a download's error message"),
    (b"<", "an HTML or XML page, probably a download's error message"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"PAR1", "a Parquet file; export it as JSON lines"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed; compress it with gzip"),
    (b"BZh", "bzip2-compressed; compress it with gzip"),
    (b"\xff\xfe", "UTF-16 text; convert it to UTF-8"),
    (b"\xfe\xff", "UTF-16 text; convert it to UTF-8"),
)


def is_gzip_name(name: str) -> bool:
    """Tell whether readers will gunzip a file: Spark goes by the name alone."""
    return name.endswith(".gz")


def gunzip_head(data: bytes, limit: int) -> bytes:
    """Decompress as much of a gzip's beginning as is there, up to a limit of bytes.

    A cut or damaged rest is no concern here: ``gzip_fault`` judges the whole file.
    """
    out = bytearray()
    with gzip.open(io.BytesIO(data)) as stream:
        try:
            while len(out) < limit and (chunk := stream.read1(limit)):
                out += chunk
        except (EOFError, OSError, zlib.error):
            pass
    return bytes(out)


def disguise(name: str, head: bytes) -> str | None:
    """Say what a file is when it is not what its name says; None when it may be.

    Args:
        name: the file's name.
        head: its first bytes, as stored.
    """
    if not head:
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if is_gzip_name(name):
        if head.startswith(GZIP_MAGIC):
            return None
        plain = "plain JSON under a gzip name; compress it, or drop the .gz"
        found = plain if start.startswith((b"{", b"[")) else "no gzip at all"
    elif head.startswith(GZIP_MAGIC):
        return "gzip-compressed without a .gz at the end of its name; rename it"
    else:
        found = None
    for magic, description in _DISGUISES:
        if head.startswith(magic) or start.startswith(magic):
            return description
    return found


def gzip_fault(file: FileInfo) -> str | None:
    """Read a whole gzip and say what is wrong with it; None when it is intact."""
    try:
        for _ in gunzip(storage.read_chunks(file, _CHUNK), _CHUNK):
            pass
    except GzipFaultError as error:
        return str(error)
    return None

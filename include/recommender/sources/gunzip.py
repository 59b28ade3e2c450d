"""Decompress gzip in a stream, and know where it is torn."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator


class GzipFaultError(Exception):
    """Say what is wrong with a gzip."""


def gunzip(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield decompressed pieces of about a size.

    Gzip files may be concatenated: where one member ends, another begins.

    Raises:
        GzipFaultError: it is damaged, or ends in mid-stream.
    """
    stream = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            if stream.eof:
                stream = zlib.decompressobj(wbits=31)
            try:
                piece = stream.decompress(data, size)
            except zlib.error as error:
                message = f"gzip is damaged ({error}); upload it again"
                raise GzipFaultError(message) from error
            if piece:
                yield piece
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        message = "gzip ends in mid-stream; upload it again"
        raise GzipFaultError(message)

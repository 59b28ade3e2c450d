"""Receive PutObject and UploadPart bodies into files, and refuse those that arrive damaged.

moto reads every body whole into memory and verifies nothing. This WSGI layer in front of it writes the
body to a staged file, compares length, Content-MD5 and checksums, and passes on an empty body.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from localaws.s3_content import BLOCK_BYTES, CHECKSUMS, stage
from localaws.s3_index import Stored
from localaws.s3_store import Store

WsgiEnviron = dict[str, Any]

# PUT with one of these in the query changes a property of an object, not its bytes.
_SUBRESOURCES = {"acl", "tagging", "retention", "legal-hold", "torrent"}
_CHECKSUM_HEADER = re.compile(r"^HTTP_X_AMZ_CHECKSUM_(CRC32C?|CRC64NVME|SHA1|SHA256)$")
_MAX_LINE_BYTES = 8192


class UploadError(ValueError):
    """A body that S3 would refuse.

    Attributes:
        code: S3's error code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_upload(environ: WsgiEnviron) -> bool:
    """Tell whether a request carries object bytes (path-style PutObject or UploadPart)."""
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    return bool(
        environ["REQUEST_METHOD"] == "PUT"
        and bucket
        and key
        and "HTTP_X_AMZ_COPY_SOURCE" not in environ
        and not _SUBRESOURCES & parse_qs(environ["QUERY_STRING"], keep_blank_values=True).keys()
    )


def receive(environ: WsgiEnviron, store: Store) -> Stored:
    """Stage the body of an upload and rewrite the request to an empty one with a checksum header.

    Raises:
        UploadError: the body is shorter than announced or does not match a checksum sent with it.
    """
    body = environ["wsgi.input"]
    trailers: dict[str, str] = {}
    if environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-"):
        blocks: Iterable[bytes] = _decode_chunks(body, trailers)
        announced = int(environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or -1)
    else:
        blocks = iter(lambda: body.read(BLOCK_BYTES), b"")
        announced = int(environ.get("CONTENT_LENGTH") or -1)
    staged, computed = stage(blocks, store.layout.staging, _algorithms(environ))
    try:
        _check_length(announced, staged)
        _check_md5(environ, staged)
        _check_payload_hash(environ, computed)
        _check_checksum(environ, trailers, computed)
    except UploadError:
        staged.path.unlink(missing_ok=True)
        raise
    _empty_body(environ)
    return staged


def error_body(error: UploadError) -> bytes:
    """Render an error as S3's XML."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{error.code}</Code><Message>{escape(str(error))}</Message></Error>"
    ).encode()


def _algorithms(environ: WsgiEnviron) -> set[str]:
    """Name the checksums to compute: those the request speaks of, and SHA-256 of a signed payload."""
    names = {environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "").upper()}
    names |= {found.group(1) for found in map(_CHECKSUM_HEADER.match, environ) if found}
    trailer = environ.get("HTTP_X_AMZ_TRAILER", "").lower().removeprefix("x-amz-checksum-")
    names.add(trailer.upper())
    if re.fullmatch(r"[0-9a-f]{64}", environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")):
        names.add("SHA256")
    return names & CHECKSUMS.keys()


def _check_length(announced: int, staged: Stored) -> None:
    if announced not in {-1, staged.size}:
        raise UploadError(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header: "
            f"expected {announced}, found {staged.size}.",
        )


def _check_md5(environ: WsgiEnviron, staged: Stored) -> None:
    sent = environ.get("HTTP_CONTENT_MD5")
    if sent is None:
        return
    try:
        expected = base64.b64decode(sent, validate=True)
    except binascii.Error:
        expected = b""
    if len(expected) != 16:
        raise UploadError("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if expected.hex() != staged.md5:
        raise UploadError(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received: "
            f"expected {expected.hex()}, found {staged.md5}.",
        )


def _check_payload_hash(environ: WsgiEnviron, computed: dict[str, str]) -> None:
    sent = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
    if not re.fullmatch(r"[0-9a-f]{64}", sent):
        return
    found = base64.b64decode(computed["SHA256"]).hex()
    if found != sent:
        raise UploadError(
            "XAmzContentSHA256Mismatch",
            f"The provided 'x-amz-content-sha256' header does not match what was computed: "
            f"expected {sent}, found {found}.",
        )


def _check_checksum(
    environ: WsgiEnviron, trailers: dict[str, str], computed: dict[str, str]
) -> None:
    """Compare the checksum sent as header or trailer and hand it to moto as a header."""
    for name, value in trailers.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    sent = {
        found.group(1): environ[found.group(0)]
        for found in map(_CHECKSUM_HEADER.match, list(environ))
        if found
    }
    for algorithm, expected in sent.items():
        if algorithm in computed and computed[algorithm] != expected:
            raise UploadError(
                "BadDigest",
                f"The {algorithm} you specified did not match the calculated checksum: "
                f"expected {expected}, found {computed[algorithm]}.",
            )
    asked = environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "").upper()
    algorithm = next(iter(sent), asked if asked in computed else "")
    if algorithm:
        environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = algorithm
        environ.setdefault(f"HTTP_X_AMZ_CHECKSUM_{algorithm}", computed.get(algorithm, ""))
    else:
        environ.pop("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", None)


def _empty_body(environ: WsgiEnviron) -> None:
    environ["HTTP_X_AMZ_CONTENT_SHA256"] = "UNSIGNED-PAYLOAD"
    environ["CONTENT_LENGTH"] = "0"
    environ.pop("wsgi.input_terminated", None)
    environ.pop("HTTP_TRANSFER_ENCODING", None)


def _decode_chunks(body: IO[bytes], trailers: dict[str, str]) -> Iterator[bytes]:
    """Yield the data of an aws-chunked body; signatures are not checked, trailers are collected.

    Format: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
    """
    while left := _chunk_size(body):
        while left:
            block = body.read(min(left, BLOCK_BYTES))
            if not block:
                raise UploadError("IncompleteBody", "The aws-chunked body ended inside a chunk.")
            left -= len(block)
            yield block
        body.readline(_MAX_LINE_BYTES)  # the CRLF behind the data
    while line := body.readline(_MAX_LINE_BYTES).strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower().startswith("x-amz-checksum-"):
            trailers[name.lower()] = value.strip()


def _chunk_size(body: IO[bytes]) -> int:
    line = body.readline(_MAX_LINE_BYTES)
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise UploadError(
            "IncompleteBody", f"Expected the size of an aws-chunked chunk, found {line[:40]!r}."
        ) from None

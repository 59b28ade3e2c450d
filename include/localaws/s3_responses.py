"""Serve S3 requests one at a time, so that conditions hold, and complete what moto leaves out."""

import base64
from typing import Any

from moto.s3 import responses
from moto.s3.exceptions import InvalidRequest, MissingKey, PreconditionFailed

from localaws.s3_backend import FileS3Backend
from localaws.s3_content import BLOCK_BYTES, CHECKSUMS, FileContent

Response = tuple[int, dict[str, str], Any]
# moto's request object and query dictionary; only passed through.
Untyped = Any


class LocalS3Response(responses.S3Response):
    """moto's S3 protocol with locking, commit and the conditions moto ignores."""

    service: FileS3Backend

    def key_response(self, request: Untyped, full_url: str, headers: dict[str, Any]) -> Response:
        """Serve one request on an object; what it wrote becomes visible only if it succeeded."""
        with self.service.store.lock:
            try:
                response: Response = super().key_response(request, full_url, headers)
            except BaseException:
                self.service.roll_back()
                raise
            if response[0] < 300:
                self.service.commit()
            else:
                self.service.roll_back()
            return response

    def bucket_response(self, request: Untyped, full_url: str, headers: Untyped) -> Response:
        """Serve one request on a bucket."""
        with self.service.store.lock:
            response: Response = super().bucket_response(request, full_url, headers)
            self.service.commit()  # a browser's form upload is a request on the bucket
            return response

    def copy_object(self) -> Untyped:
        """Copy, under If-Match and If-None-Match, which moto ignores here."""
        self._check_conditions(self.parse_key_name())
        return super().copy_object()

    def _key_response_post(
        self,
        request: Untyped,
        body: bytes,
        bucket_name: str,
        query: dict[str, Any],
        key_name: str,
    ) -> Untyped:
        upload_id = query.get("uploadId", [None])[0]
        if upload_id is not None:
            existing = self.service.get_object(bucket_name, key_name)
            done = existing is not None and getattr(existing.multipart, "id", None) == upload_id
            if not done:  # a repeated completion answers as the first did
                self._check_conditions(key_name)
        return super()._key_response_post(request, body, bucket_name, query, key_name)

    def _check_conditions(self, key_name: str) -> None:
        """Raise PreconditionFailed (412) or NoSuchKey (404) as S3 does for conditional writes."""
        existing = self.service.get_object(self.bucket_name, key_name)
        if self.headers.get("If-None-Match") == "*" and existing is not None:
            raise PreconditionFailed("If-None-Match")
        wanted = self.headers.get("If-Match")
        if wanted is None:
            return
        if existing is None:
            raise MissingKey(key=key_name)
        if wanted.strip('"') != existing.etag.strip('"'):
            raise PreconditionFailed("If-Match")


def _compute_checksum(body: FileContent | bytes, algorithm: str) -> bytes:
    """Stand in for moto's function, which wants the bytes in memory and makes up what it lacks."""
    if algorithm not in CHECKSUMS:
        raise InvalidRequest(f"the embedded S3 computes {sorted(CHECKSUMS)}, found {algorithm}")
    hasher = CHECKSUMS[algorithm]()
    blocks = (
        body
        if isinstance(body, FileContent)
        else [body[i : i + BLOCK_BYTES] for i in range(0, len(body), BLOCK_BYTES)]
    )
    for block in blocks:
        hasher.update(block)
    return base64.b64encode(hasher.digest())


def install(service: FileS3Backend) -> None:
    """Route S3 requests here. Call before the first request."""
    LocalS3Response.service = service
    # moto.s3.urls is reloaded by moto and takes the class from this module again.
    responses.S3Response = LocalS3Response  # type: ignore[misc]  # replacing the class is the point
    responses.compute_checksum = _compute_checksum  # type: ignore[attr-defined, assignment]  # imported there; never called with its third argument

"""Offer the embedded S3 to the embedded EMR: what clusters need of it, without HTTP."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from moto.s3.exceptions import S3ClientError
from moto.s3.models import s3_backends

from localaws import ACCOUNT_ID, s3_backend, s3_responses
from localaws.s3_backend import FileS3Backend
from localaws.s3_index import Stored
from localaws.s3_objects import FileKey
from localaws.s3_store import Store

REGION = "us-east-1"


def split_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` (also s3a, s3n) into bucket and key.

    Raises:
        ValueError: it is something else.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if not separator or scheme not in {"s3", "s3a", "s3n"} or not bucket:
        raise ValueError(f"expected s3://bucket/key, found {uri!r}")
    return bucket, key


class S3Service:
    """The one S3 backend and its store."""

    def __init__(self, store: Store) -> None:
        s3_backend.install()
        backend = s3_backends[ACCOUNT_ID]["aws"]
        if not isinstance(backend, FileS3Backend):
            raise TypeError(
                f"expected moto's S3 to be unused so far, found a {type(backend).__name__}: "
                "start the embedded AWS before anything else of moto"
            )
        s3_responses.install(backend)
        self.backend = backend
        self.store = store
        backend.attach(store)

    def buckets(self) -> list[str]:
        """Return the buckets' names."""
        with self.store.lock:
            return sorted(self.backend.buckets)

    def ensure_bucket(self, name: str) -> None:
        """Create a bucket if absent.

        Raises:
            ValueError: S3 would not take the name.
        """
        with self.store.lock:
            if name in self.backend.buckets:
                return
            try:
                self.backend.create_bucket(name, REGION)
            except S3ClientError as error:
                raise ValueError(f"bucket {name!r} was not created: {error.message}") from error

    def exists(self, uri: str) -> bool:
        """Tell whether an object is there."""
        with self.store.lock:
            return self._find(*split_uri(uri)) is not None

    def download(self, uri: str, path: Path) -> None:
        """Copy an object to a file.

        Raises:
            OSError: there is no such object.
        """
        with self.store.lock:
            key = self._find(*split_uri(uri))
            if key is None:
                raise OSError(
                    f"expected an object at {uri}, found none: upload it before the step runs"
                )
            content = key.value
        with contextlib.closing(content), path.open("wb") as file:
            for block in content:
                file.write(block)

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Create or replace an object.

        Raises:
            OSError: there is no such bucket.
        """
        staged = self.store.stage_bytes(content)
        with self.store.lock:
            try:
                self.backend.put_object(bucket, key, staged)
            except S3ClientError as error:
                staged.path.unlink(missing_ok=True)
                raise OSError(f"s3://{bucket}/{key}: {error.message}") from error
            self.backend.commit()

    def synchronise(self) -> None:
        """Register what Spark changed in any bucket."""
        for bucket in self.buckets():
            self.backend.synchronise(bucket)

    @contextlib.contextmanager
    def receiving(self, staged: Stored | None) -> Iterator[None]:
        """Hand a received body to the request served in this thread; delete it if it was not wanted."""
        self.backend.expect(staged)
        try:
            yield
        finally:
            if staged is not None and self.backend.unclaimed():
                staged.path.unlink(missing_ok=True)
            self.backend.expect(None)

    def _find(self, bucket: str, key: str) -> FileKey | None:
        try:
            found = self.backend.get_object(bucket, key)
        except S3ClientError:
            return None
        return found if isinstance(found, FileKey) else None

"""Make moto's S3 keep its objects in a `Store` instead of in memory.

moto stays the protocol: buckets, listings, conditions, copies. What is replaced is where bytes and
metadata live (`s3_objects`) and when they become visible (`FileS3Backend.commit`).
Versions, bucket policies and open multipart uploads live in memory and are gone after a restart.
"""

import contextlib
import datetime
import threading
import uuid
from collections.abc import Iterator
from typing import Any

from moto.s3 import models
from moto.s3.exceptions import NoSuchUpload

from localaws.s3_content import FileContent, stage
from localaws.s3_index import Record, Stored
from localaws.s3_layout import is_path_key
from localaws.s3_objects import FileKey, FileMultipart, Untyped
from localaws.s3_store import Store


class FileS3Backend(models.S3Backend):
    """moto's S3 over a `Store`; `attach` gives it one."""

    __module__ = "moto.s3.models"

    store: Store

    def attach(self, store: Store) -> None:
        """Connect the store and take up what it holds."""
        self.store = store
        self._incoming = threading.local()
        self._uncommitted: list[tuple[str, str, Stored | None, list[Any] | None]] = []
        for name, region, created in store.index.buckets():
            bucket = models.FakeBucket(name, self.account_id, region)  # type: ignore[abstract]  # moto does it too
            bucket.creation_date = datetime.datetime.fromtimestamp(created, tz=datetime.UTC)
            self.buckets[name] = bucket
            store.layout.bucket(name).mkdir(parents=True, exist_ok=True)
            for key, record in store.load(name).items():
                self._show(name, key, record)
            self.synchronise(name)

    def expect(self, staged: Stored | None) -> None:
        """Announce this thread's next body: moto will be given an empty one."""
        self._incoming.stored = staged

    def unclaimed(self) -> bool:
        """Tell whether the announced body was not taken."""
        return getattr(self._incoming, "stored", None) is not None

    # Objects

    def put_object(  # type: ignore[override]  # moto's arguments pass through
        self, bucket_name: str, key_name: str, value: Untyped, **kwargs: Untyped
    ) -> FileKey:
        """Create an object that becomes visible to others, and Spark, at the next `commit`."""
        bucket = self.get_bucket(bucket_name)
        before = list(bucket.keys.getlist(key_name, []))
        current = before[-1] if before and isinstance(before[-1], FileKey) else None
        staged = self._staged(value)
        key: FileKey = super().put_object(bucket_name, key_name, staged, **kwargs)  # type: ignore[arg-type, assignment]  # FakeKey is patched to FileKey, which takes a file
        old = current.stored if current is not None else None
        self._uncommitted.append((bucket_name, key_name, old, before))
        return key

    def commit(self) -> None:
        """Make this request's new objects permanent and visible."""
        uncommitted, self._uncommitted = self._uncommitted, []
        for bucket_name, key_name, old, before in uncommitted:
            bucket = self.buckets[bucket_name]
            key: FileKey = bucket.keys[key_name]
            superseded = old
            if old is not None and bucket.is_versioned and before:
                before[-1].stored = self.store.set_aside(bucket_name, key_name, old)
                superseded = None
            record = key.record(self.tagger.get_tag_dict_for_resource(key.arn))
            key.stored = self.store.commit(bucket_name, key_name, record, superseded).stored

    def roll_back(self) -> None:
        """Undo this request's new objects: moto refused it after it had made them."""
        uncommitted, self._uncommitted = self._uncommitted, []
        for bucket_name, key_name, _, before in reversed(uncommitted):
            keys = self.buckets[bucket_name].keys
            keys[key_name].stored.path.unlink(missing_ok=True)
            if before:
                dict.__setitem__(keys, key_name, before)
            else:
                dict.pop(keys, key_name)

    def get_object(
        self, bucket_name: str, key_name: str, *args: Untyped, **kwargs: Untyped
    ) -> Untyped:
        """Find an object, in the state that Spark left it."""
        self._refresh(bucket_name, key_name)
        return super().get_object(bucket_name, key_name, *args, **kwargs)

    def delete_object(
        self, bucket_name: str, key_name: str, *args: Untyped, **kwargs: Untyped
    ) -> Untyped:
        """Delete an object; on a versioned bucket its bytes are set aside."""
        self._refresh(bucket_name, key_name)
        bucket = self.get_bucket(bucket_name)
        before = list(bucket.keys.getlist(key_name, []))
        result = super().delete_object(bucket_name, key_name, *args, **kwargs)
        after = bucket.keys.getlist(key_name, [])
        for key in before:
            if isinstance(key, FileKey) and key not in after:
                self.store.remove(bucket_name, key_name, key.stored)
                self.tagger.delete_all_tags_for_resource(key.arn)
        if after and before and isinstance(before[-1], FileKey) and after[-1] is not before[-1]:
            before[-1].stored = self.store.set_aside(bucket_name, key_name, before[-1].stored)
            self.store.index.remove(bucket_name, key_name)
        return result

    def put_object_tagging(self, key: Untyped, tags: Untyped) -> Untyped:
        """Tag an object, also in the index."""
        result = super().put_object_tagging(key, tags)
        if self.store.layout.staging not in key.stored.path.parents:
            self.store.index.put(key.bucket_name, key.name, key.record(dict(tags or {})))
        return result

    def list_objects(self, bucket: Untyped, *args: Untyped, **kwargs: Untyped) -> Untyped:
        """List a bucket, with what running steps wrote so far."""
        if self.store.steps_running:
            self.synchronise(bucket.name)
        return super().list_objects(bucket, *args, **kwargs)

    # Multipart uploads

    def upload_part(
        self, bucket_name: str, multipart_id: str, part_id: int, value: Untyped
    ) -> Untyped:
        """Take a part."""
        upload = self._upload(bucket_name, multipart_id)
        replaced = upload.parts.get(part_id)
        key = upload.set_part(part_id, self._staged(value))  # type: ignore[arg-type]  # see put_object
        if replaced is not None:
            replaced.stored.path.unlink(missing_ok=True)  # type: ignore[attr-defined]  # a FileKey
        return key

    def upload_part_copy(
        self,
        dest_bucket_name: str,
        multipart_id: str,
        part_id: int,
        src_bucket_name: str,
        src_key_name: str,
        src_version_id: str | None,
        start_byte: int | None,
        end_byte: int | None,
    ) -> Untyped:
        """Take a part, or a range of it, from an object."""
        source = self.get_object(src_bucket_name, src_key_name, version_id=src_version_id).value
        if start_byte is not None and end_byte is not None:
            source = source[start_byte : end_byte + 1]
        return self.upload_part(dest_bucket_name, multipart_id, part_id, source)

    def complete_multipart_upload(
        self, bucket_name: str, multipart_id: str, body: Iterator[tuple[int, str]]
    ) -> FileKey:
        """Join the parts into an object."""
        upload = self._upload(bucket_name, multipart_id)
        whole, etag = upload.join(self.store, body)
        key = self.put_object(
            bucket_name,
            upload.key_name,
            whole,
            storage=upload.storage,
            etag=etag,
            multipart=upload,
            encryption=upload.sse_encryption,
            kms_key_id=upload.kms_key_id,
        )
        key.set_metadata(upload.metadata)
        if upload.checksum is not None:
            key.checksum_algorithm, key.checksum_value = upload.checksum
            key.checksum_type = "FULL_OBJECT"
        self.put_object_tagging(key, upload.tags)
        del self.get_bucket(bucket_name).multiparts[multipart_id]
        return key

    # Buckets

    def create_bucket(
        self, bucket_name: str, region_name: str, *args: Untyped, **kwargs: Untyped
    ) -> Untyped:
        """Create a bucket and its mirror."""
        bucket = super().create_bucket(bucket_name, region_name, *args, **kwargs)
        self.store.layout.bucket(bucket_name).mkdir(parents=True, exist_ok=True)
        self.store.index.add_bucket(bucket_name, region_name, bucket.creation_date.timestamp())
        return bucket

    def delete_bucket(self, bucket_name: str) -> Untyped:
        """Delete a bucket that holds nothing, not even what Spark just wrote."""
        self.synchronise(bucket_name)
        bucket = super().delete_bucket(bucket_name)
        if bucket is not None:
            self.store.remove_bucket(bucket_name)
        return bucket

    def synchronise(self, bucket_name: str) -> None:
        """Register what Spark wrote in a bucket, forget what it deleted, sweep what it left."""
        with self.store.lock:
            keys = self.get_bucket(bucket_name).keys
            seen = set()
            for key_name, path, state in self.store.files(bucket_name):
                seen.add(key_name)
                key = keys.get(key_name)
                known = key.stored if isinstance(key, FileKey) else None
                if known is None or (known.path, known.size, known.mtime_ns) != (
                    path,
                    state.st_size,
                    state.st_mtime_ns,
                ):
                    self._refresh(bucket_name, key_name)
            for key_name in list(keys):
                if key_name not in seen:
                    self._refresh(bucket_name, key_name)
            self.store.sweep(bucket_name)

    # Helpers

    def _upload(self, bucket_name: str, multipart_id: str) -> FileMultipart:
        upload = self.get_bucket(bucket_name).multiparts.get(multipart_id)
        if not isinstance(upload, FileMultipart):
            raise NoSuchUpload(upload_id=multipart_id)
        return upload

    def _staged(self, value: Stored | FileContent | bytes) -> Stored:
        """Turn what moto passes as a body into a staged file."""
        if isinstance(value, Stored):
            return value
        if isinstance(value, FileContent):
            return stage(value, self.store.layout.staging)[0]
        incoming: Stored | None = getattr(self._incoming, "stored", None)
        if not value and incoming is not None:
            self._incoming.stored = None
            return incoming
        return self.store.stage_bytes(value)

    def _refresh(self, bucket_name: str, key_name: str) -> None:
        """Bring one key in line with its file, which Spark may have written or deleted."""
        bucket = self.buckets.get(bucket_name)
        if bucket is None:
            return
        key = bucket.keys.get(key_name)
        known = key if isinstance(key, FileKey) else None
        if known is not None and self.store.layout.staging in known.stored.path.parents:
            return  # written by the request being served
        path = (
            self.store.layout.mirror_file(bucket_name, key_name) if is_path_key(key_name) else None
        )
        if path is not None and path.is_file():
            if known is not None and known.stored.path == path and known.stored.holds():
                return
            old = known.record(self.tagger.get_tag_dict_for_resource(known.arn)) if known else None
            with contextlib.suppress(FileNotFoundError):  # Spark renamed it while it was read
                self._show(
                    bucket_name, key_name, self.store.adopt(bucket_name, key_name, path, old)
                )
                if known is not None and known.stored.path != path:
                    known.stored.path.unlink(missing_ok=True)
                return
        if known is not None and not known.stored.holds():
            self._hide(bucket_name, key_name, known)

    def _show(self, bucket_name: str, key_name: str, record: Record) -> None:
        """Enter a record among the bucket's keys, beside older versions whose files still exist."""
        bucket = self.buckets[bucket_name]
        key = FileKey(
            key_name,
            record.stored,
            account_id=self.account_id,
            region_name=self.region_name,
            bucket_name=bucket_name,
            is_versioned=bucket.is_versioned,
            version_id=str(uuid.uuid4()) if bucket.is_versioned else "null",
            etag=record.etag,
        )
        key.restore_record(record)
        older = bucket.keys.getlist(key_name, []) if bucket.is_versioned else []
        kept = [old for old in older if getattr(old, "stored", None) is None or old.stored.holds()]
        bucket.keys.setlist(key_name, [*kept, key])
        if record.tags:
            self.tagger.tag_resource(key.arn, self.tagger.convert_dict_to_tags_input(record.tags))

    def _hide(self, bucket_name: str, key_name: str, gone: FileKey) -> None:
        """Drop a key whose file Spark deleted; a versioned bucket keeps the older versions."""
        bucket = self.buckets[bucket_name]
        if bucket.is_versioned:
            self._set_delete_marker(bucket_name, key_name)
            versions = bucket.keys.getlist(key_name)
            bucket.keys.setlist(key_name, [version for version in versions if version is not gone])
        else:
            bucket.keys.pop(key_name)
        self.store.remove(bucket_name, key_name, gone.stored)


def install() -> None:
    """Put these classes in moto's places. Call before the first request."""
    models.FakeKey = FileKey  # type: ignore[assignment, misc]  # replacing the class is the point
    models.FakeMultipart = FileMultipart  # type: ignore[misc]  # as above
    models.s3_backends.backend = FileS3Backend

"""The bytes of S3 objects and of the parts of unfinished uploads.

They go through the provider's storage API and not through its folder: files there are named by
Python's `hash`, which differs in every process, and small bodies are in memory only.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from localstack.services.s3.models import S3Bucket, S3Object, s3_stores
from localstack.services.s3.storage.core import S3ObjectStore, S3StoredObject

from podsync_localstack import names
from podsync_localstack.archive import ArchiveReader, ArchiveWriter
from podsync_localstack.beside import Scopes
from podsync_localstack.report import Failure, reason


class Body(NamedTuple):
    member: str
    bucket: str
    # An S3Object, or an S3Part where there is an upload.
    record: Any
    upload: Any | None = None

    def open(self, storage: S3ObjectStore, mode: Literal["r", "w"]) -> S3StoredObject:
        if self.upload is None:
            return storage.open(self.bucket, self.record, mode)
        return storage.get_multipart(self.bucket, self.upload).open(self.record, mode)

    @property
    def label(self) -> str:
        if self.upload is None:
            return f"s3://{self.bucket}/{self.record.key}"
        return f"s3://{self.bucket}/{self.upload.object.key} part {self.record.part_number}"


def save(storage: S3ObjectStore, archive: ArchiveWriter) -> list[Failure]:
    failed = []
    for body in sorted(bodies(), key=lambda body: body.member):
        try:
            with body.open(storage, "r") as stored:
                archive.copy(body.member, stored, body.record.size or 0)
        except Exception as e:
            failed.append(Failure("s3", reason(e), object=body.label))
    return failed


class Staged:
    """Bodies that are written before their buckets are in the stores: nobody waits for that, and
    where it fails nothing has changed.

    In a storage of their own, of the kind and in the folder of the provider's.
    """

    def __init__(
        self,
        storage: S3ObjectStore,
        archive: ArchiveReader,
        buckets: Iterable[S3Bucket],
        bodies: Iterable[Body],
    ) -> None:
        live: Any = storage
        self._live = live
        self._staged: Any = type(live)(live.root_directory)
        for bucket in buckets:
            self._staged.create_bucket(bucket.name)
        try:
            for body in bodies:
                with archive.open(body.member) as source:
                    _write(body, self._staged, source)
        except BaseException:
            self.close()
            raise

    def take_over(self) -> None:
        """Moves the bodies to the buckets that are now in the stores."""
        for bucket in _buckets():
            self._live.create_bucket(bucket.name)
            live = self._live._filesystem[bucket.name]
            come = self._staged._filesystem.pop(bucket.name, {"keys": {}, "multiparts": {}})
            for multipart in come["multiparts"].values():
                multipart._s3_store = self._live
            for kind in ("keys", "multiparts"):
                for gone in live[kind].keys() & come[kind].keys():
                    live[kind][gone].close()
                live[kind].update(come[kind])
            for upload in bucket.multiparts.values():
                # Where nothing of it came: the record may be another one than its parts know.
                self._live.get_multipart(bucket.name, upload).s3_multipart = upload

    def close(self) -> None:
        """Frees bodies that were not moved."""
        self._staged.close()


def drop_all_but_present(storage: S3ObjectStore, before: list[Body]) -> None:
    """Frees what was in storage before a load and belongs to nothing now."""
    if not before:
        return
    present = {body.member for body in bodies()}
    for body in before:
        if body.member in present:
            continue
        if body.upload is None:
            storage.remove(body.bucket, body.record)
        else:
            storage.get_multipart(body.bucket, body.upload).remove_part(body.record)


def _write(body: Body, storage: S3ObjectStore, source: Any) -> None:
    record = body.record
    size, modified = record.size, getattr(record, "internal_last_modified", 0)
    with body.open(storage, "w") as stored:
        # append() and not write(): the latter hashes all bytes for an ETag that is known already.
        stored.append(source)
        # A body is served only while its time is the one in the record.
        if hasattr(stored, "file"):
            stored.file.internal_last_modified = modified
    record.size = size
    record.internal_last_modified = modified


def _buckets() -> Iterator[S3Bucket]:
    for account in sorted(s3_stores):
        # Buckets are an attribute that all regions of an account share.
        yield from s3_stores[account]._global.get("buckets", {}).values()


def buckets_in(scopes: Scopes) -> Iterator[S3Bucket]:
    for _, _, attributes in scopes:
        yield from attributes.get("buckets", {}).values()


def bodies() -> Iterator[Body]:
    """Of all buckets that are in the stores."""
    return bodies_of(_buckets())


def bodies_of(buckets: Iterable[S3Bucket]) -> Iterator[Body]:
    for bucket in buckets:
        objects = names.s3_objects(bucket.name)
        for record in bucket.objects.values(with_versions=True):
            if isinstance(record, S3Object):
                member = objects + names.s3_version(record.key, record.version_id)
                yield Body(member, bucket.name, record)
        for upload in bucket.multiparts.values():
            for part in upload.parts.values():
                member = names.s3_part(bucket.name, upload.id, part.part_number)
                yield Body(member, bucket.name, part, upload)

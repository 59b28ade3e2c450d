"""Write and read a trained candidate: factors, counts, ids and facts in one sealed directory.

A published version holds the same files, so one loader serves both.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from recommender import config, manifest, models, storage, titles
from recommender.columns import ITEM, ITEM_ID, USER, USER_ID
from recommender.distributed import layout
from recommender.errors import ManifestError
from recommender.history import HISTORY
from recommender.locations import MANIFEST, SEARCH, SUMMARY, join
from recommender.manifest import File, Manifest
from recommender.models import Model

CANDIDATE, VERSION = "candidate", "version"
ALS, POPULARITY = "als", "popularity"
_USERS, _ITEMS = "users.parquet", "items.parquet"
OWN = frozenset(
    {
        ALS,
        *get_args(config.Contender),
        HISTORY,
        SEARCH,
        _USERS,
        _ITEMS,
        titles.FILE,
        SUMMARY,
        MANIFEST,
        layout.ITEM_SCORES,
        *layout.FOLDERS,
    }
)
"""Every name directly below a candidate: what a new one may replace."""


@dataclass(frozen=True)
class Candidate:
    """Hold a trained candidate or a published version.

    Attributes:
        models: by directory name: ``als`` and the contenders.
        users: (users,) ids in order of index.
        items: (items,) ids in order of index.
        about: the manifest's facts: recommender, fit_until, seed, settings, versions.
    """

    models: dict[str, Model]
    users: pa.StringArray
    items: pa.StringArray
    about: dict[str, Any]


def write(directory: Path, candidate: Candidate) -> None:
    """Write models and id tables below a local directory; ``publish`` makes them visible."""
    for name, model in candidate.models.items():
        model.save(directory / name)
    _write_ids(directory / _USERS, USER, USER_ID, candidate.users)
    _write_ids(directory / _ITEMS, ITEM, ITEM_ID, candidate.items)


def publish(directory: Path, uri: str, kind: str, about: dict[str, Any]) -> None:
    """Write a local directory's files to an empty place, manifest last.

    What is hashed are the local files: S3 checks on arrival that they are the ones sent.
    """
    files = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        name = path.relative_to(directory).as_posix()
        storage.upload(path, join(uri, name))  # with threads of its own where it is large
        files[name] = File(path.stat().st_size, storage.sha256(str(path)))
    storage.write_json(join(uri, MANIFEST), Manifest(kind, files, about).to_json())


def load(uri: str) -> Candidate:
    """Load a candidate or a published version, every file checked.

    Raises:
        ManifestError: the directory is unfinished, changed, or neither of the two kinds.
    """
    with _checked(uri) as (stored, sealed), _plain(stored, sealed) as directory:
        names = sorted(
            {name.split("/")[0] for name in sealed.files if name.endswith(f"/{models.MODEL}")}
        )
        return Candidate(
            models={name: models.load(directory / name) for name in names},
            users=_read_ids(directory / _USERS, USER_ID),
            items=_read_ids(directory / _ITEMS, ITEM_ID),
            about=sealed.about,
        )


@contextmanager
def _checked(uri: str) -> Iterator[tuple[Path, Manifest]]:
    """Give a local directory with the files; from S3 each is read once, and checked on the way."""
    kind = _kind(uri)
    if not storage.is_s3(uri):
        yield Path(uri.removeprefix("file://")), manifest.verify(uri, kind)
        return
    with tempfile.TemporaryDirectory(prefix="recsys-") as name:
        yield Path(name), manifest.fetch(uri, kind, Path(name))


def read_user_ids(uri: str) -> list[str]:
    """Read the ids of the users that a candidate or version knows, and nothing else of it.

    Raises:
        NotFoundError: it has no table of users.
    """
    names = [_USERS]
    if not storage.exists(join(uri, _USERS)):
        names = [f"users/{name}" for name in storage.list_children(join(uri, "users"))]
    with tempfile.TemporaryDirectory(prefix="recsys-") as directory:
        ids: list[str] = []
        for number, name in enumerate(names or [_USERS]):
            path = Path(directory) / f"{number}.parquet"
            storage.download(join(uri, name), path)
            ids += _read_ids(path, USER_ID).to_pylist()
        return ids


@contextmanager
def _plain(directory: Path, sealed: Manifest) -> Iterator[Path]:
    """Give the plain layout: the directory itself, or what its shards are assembled to."""
    if not layout.is_sharded(sealed.files):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="recsys-") as name:
        for file in sorted(directory.rglob(models.MODEL)):
            target = Path(name) / file.relative_to(directory)
            target.parent.mkdir(parents=True)
            shutil.copyfile(file, target)
        layout.assemble(directory, Path(name))
        yield Path(name)


def _kind(uri: str) -> str:
    """Tell a version from a candidate by the manifest; anything else is reported as neither."""
    document = storage.read_json(join(uri, MANIFEST)) if storage.exists(join(uri, MANIFEST)) else {}
    return VERSION if isinstance(document, dict) and document.get("kind") == VERSION else CANDIDATE


def _write_ids(path: Path, index: str, name: str, ids: pa.StringArray) -> None:
    table = pa.table({index: pa.array(range(len(ids)), pa.int32()), name: ids})
    pq.write_table(table, path, compression="zstd")


def _read_ids(path: Path, name: str) -> pa.StringArray:
    if not path.is_file():
        message = f"expected the id table {path.name} in the candidate, found none; train again"
        raise ManifestError(message)
    # ParquetFile, not read_table: that one would take a directory's name for a partition.
    return pq.ParquetFile(path).read([name]).column(name).combine_chunks()

"""Write and read a trained candidate: factors, counts, ids and facts in one sealed directory.

A published version holds the same files, so one loader serves both.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from recommender import config, manifest, models, storage
from recommender.columns import ITEM, ITEM_ID, USER, USER_ID
from recommender.errors import ManifestError
from recommender.history import HISTORY
from recommender.locations import MANIFEST, SEARCH, SUMMARY, join
from recommender.models import Model

CANDIDATE, VERSION = "candidate", "version"
ALS, POPULARITY = "als", "popularity"
_USERS, _ITEMS = "users.parquet", "items.parquet"
OWN = frozenset(
    {ALS, *get_args(config.Contender), HISTORY, SEARCH, _USERS, _ITEMS, SUMMARY, MANIFEST}
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
    """Write a local directory's files to an empty place, manifest last."""
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        storage.upload(path, join(uri, path.relative_to(directory).as_posix()))
    manifest.seal(uri, kind, about)


def load(uri: str, *, verify: bool = True) -> Candidate:
    """Load a candidate or a published version.

    Args:
        uri: the directory.
        verify: check every file's size and SHA-256 first; leave it out only if just done.

    Raises:
        ManifestError: the directory is unfinished, changed, or neither of the two kinds.
    """
    kind = _kind(uri)
    sealed = manifest.verify(uri, kind) if verify else manifest.read(uri, kind)
    names = sorted(
        {name.split("/")[0] for name in sealed.files if name.endswith(f"/{models.MODEL}")}
    )
    with storage.local_copy(uri) as directory:
        return Candidate(
            models={name: models.load(directory / name) for name in names},
            users=_read_ids(directory / _USERS, USER_ID),
            items=_read_ids(directory / _ITEMS, ITEM_ID),
            about=sealed.about,
        )


def read_user_ids(uri: str) -> list[str]:
    """Read the ids of the users that a candidate or version knows, and nothing else of it.

    Raises:
        NotFoundError: it has no table of users.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-") as directory:
        path = Path(directory) / _USERS
        storage.download(join(uri, _USERS), path)
        ids: list[str] = _read_ids(path, USER_ID).to_pylist()
        return ids


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

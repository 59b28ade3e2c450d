"""Load one version: fetched once, every byte that is used checked before it is."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from recommender import manifest
from recommender.distributed import layout
from recommender.locations import Locations
from recommender.serving import arrays
from recommender.serving.arrays import Arrays
from recommender.serving.model import ServedModel

VERSION, CANDIDATE = "version", "candidate"


def load_version(models: str, recommender: str, version: str) -> ServedModel:
    """Load a published version, champion or not; it never changes.

    Args:
        models: root of the model store, as in the environment's ``models``.
        recommender: name of the recommender.
        version: id of the version.

    Raises:
        ManifestError: there is no such version, or a file of it is missing or changed.
        StorageError: S3 or the disk refused.
    """
    uri = Locations("", "", models).version(recommender, version)
    return load_model(uri, VERSION, version)


@contextmanager
def fetch_arrays(
    uri: str, kind: str, sha256: str | None = None
) -> Iterator[tuple[Arrays, dict[str, Any]]]:
    """Give a directory's arrays, mapped from a temporary copy, and its manifest's facts.

    Raises:
        ManifestError: the directory is unfinished, of another kind, damaged, or not this one.
        StorageError: S3 or the disk refused.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-") as name:
        folder = Path(name)
        sealed = manifest.fetch(uri, kind, folder, wanted=arrays.is_needed, sha256=sha256)
        if layout.is_sharded(sealed.files):
            layout.assemble(folder, folder)
        yield arrays.read(folder), sealed.about


def load_model(uri: str, kind: str, name: str, *, sha256: str | None = None) -> ServedModel:
    """Load a directory of factors, popularity, ids and history.

    The files are copied to a temporary directory and mapped into memory from there; the directory
    goes when the model does.

    Args:
        uri: the directory.
        kind: ``version`` or ``candidate``.
        name: what the model calls itself in its lists.
        sha256: what its manifest must hash to; None takes any.

    Raises:
        ManifestError: the directory is unfinished, of another kind, damaged, or not this one.
        StorageError: S3 or the disk refused.
    """
    stack = ExitStack()
    with stack:
        found, about = stack.enter_context(fetch_arrays(uri, kind, sha256))
        model = ServedModel(name, about, found)
        weakref.finalize(model, stack.pop_all().close)
    return model

"""Seal a directory with a manifest written last, and trust a directory only by its manifest.

``manifest.json`` holds the kind of record, the size and SHA-256 of every file, and whatever the
writer wants a reader to know (``about``). A directory without one is unfinished or foreign.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recommender import storage
from recommender.errors import ManifestError, NotFoundError
from recommender.locations import MANIFEST, join

FORMAT = 1
_THREADS = 8  # hashing waits on the network; eight streams fill a 10 Gbit link


@dataclass(frozen=True)
class File:
    """State what a file must be: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """State what a finished directory holds.

    Attributes:
        kind: the record: ``snapshot``, ``dataset``, ``candidate``, ``report`` or ``version``.
        files: name relative to the directory -> what it must be.
        about: facts for a reader, JSON values only.
    """

    kind: str
    files: dict[str, File]
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        files = {n: {"size": f.size, "sha256": f.sha256} for n, f in sorted(self.files.items())}
        return {"format": FORMAT, "kind": self.kind, "files": files, "about": self.about}

    @classmethod
    def from_json(cls, document: Any, uri: str) -> Manifest:  # noqa: ANN401 - read from outside
        """Parse a stored document.

        Raises:
            ManifestError: it is of another format or malformed.
        """
        try:
            if document["format"] != FORMAT:
                message = f"{uri}: expected manifest format {FORMAT}, found {document['format']}"
                raise ManifestError(message)
            files = {
                name: File(int(entry["size"]), str(entry["sha256"]))
                for name, entry in document["files"].items()
            }
            return cls(str(document["kind"]), files, dict(document["about"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"{uri} is not a manifest of this project: {error!r}"
            raise ManifestError(message) from error


def seal(directory: str, kind: str, about: dict[str, Any] | None = None) -> Manifest:
    """Hash every file of a directory and write its manifest last.

    Names that start with ``_`` or ``.`` are bookkeeping of writers (``_SUCCESS``), not content.
    """
    prefix = directory.rstrip("/") + "/"
    names = [
        (file, name)
        for file in storage.list_files(directory)
        if (name := file.uri.removeprefix(prefix)) != MANIFEST and not is_bookkeeping(name)
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(lambda pair: storage.sha256(pair[0].uri), names))
    files = {
        name: File(file.size, digest) for (file, name), digest in zip(names, digests, strict=True)
    }
    manifest = Manifest(kind, files, about or {})
    storage.write_json(join(directory, MANIFEST), manifest.to_json())
    return manifest


def read(directory: str, kind: str) -> Manifest:
    """Read the manifest of a finished directory.

    Raises:
        ManifestError: there is none, or it is of another kind.
    """
    uri = join(directory, MANIFEST)
    try:
        manifest = Manifest.from_json(storage.read_json(uri), uri)
    except NotFoundError as error:
        message = (
            f"expected a finished {kind} at {directory}, found no {MANIFEST}: "
            "the job that writes it has not ended well; see its log"
        )
        raise ManifestError(message) from error
    if manifest.kind != kind:
        message = f"expected a {kind} at {directory}, found a {manifest.kind}"
        raise ManifestError(message)
    return manifest


def verify(directory: str, kind: str) -> Manifest:
    """Read a manifest and check that every file is there, whole and unchanged, and no other.

    Raises:
        ManifestError: names the first file that is missing, of another size, changed, or not listed.
    """
    manifest = read(directory, kind)
    prefix = directory.rstrip("/") + "/"
    sizes = {f.uri.removeprefix(prefix): f.size for f in storage.list_files(directory)}
    for name, expected in manifest.files.items():
        if name not in sizes:
            message = f"{prefix}{name} is in the manifest but not in the directory"
            raise ManifestError(message)
        if sizes[name] != expected.size:
            message = f"{prefix}{name}: expected {expected.size} bytes, found {sizes[name]}"
            raise ManifestError(message)
    foreign = {
        n for n in sizes.keys() - manifest.files.keys() if n != MANIFEST and not is_bookkeeping(n)
    }
    if foreign:
        message = (
            f"{prefix}{min(foreign)} is in the directory but not in the manifest: something has "
            "written there since it was sealed; move it away if that was a mistake"
        )
        raise ManifestError(message)
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(lambda name: storage.sha256(prefix + name), manifest.files)
    for (name, expected), digest in zip(manifest.files.items(), digests, strict=True):
        if digest != expected.sha256:
            message = f"{prefix}{name}: expected SHA-256 {expected.sha256}, found {digest}"
            raise ManifestError(message)
    return manifest


def fetch(
    directory: str,
    kind: str,
    target: Path,
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    sha256: str | None = None,
) -> Manifest:
    """Copy files of a finished directory to an empty local one, each checked on the way.

    Reads the source once, where ``verify`` and a copy would read it twice. The manifest comes
    last, so a copy that was cut short is not taken for a whole one.

    Args:
        directory: the source.
        kind: what it must be.
        target: local directory.
        wanted: tells which names to copy.
        sha256: what the manifest itself must hash to; None takes any.

    Raises:
        ManifestError: names the first file that is missing, of another size or changed.
    """
    uri = join(directory, MANIFEST)
    manifest = read(directory, kind)
    download = storage.download
    download(uri, target / f".{MANIFEST}")
    if sha256 is not None:
        _check_digest(uri, target / f".{MANIFEST}", sha256)

    def copy(name: str) -> None:
        source, expected, path = join(directory, name), manifest.files[name], target / name
        try:
            download(source, path)
        except NotFoundError as error:
            message = f"{source} is in the manifest but not in the directory"
            raise ManifestError(message) from error
        if path.stat().st_size != expected.size:
            found = path.stat().st_size
            message = f"{source}: expected {expected.size} bytes, found {found}"
            raise ManifestError(message)
        _check_digest(source, path, expected.sha256)

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(copy, filter(wanted, manifest.files)):
            pass  # drained, so that the first error is raised here
    (target / f".{MANIFEST}").rename(target / MANIFEST)
    return manifest


def _check_digest(uri: str, path: Path, expected: str) -> None:
    digest = storage.sha256(str(path))
    if digest != expected:
        message = f"{uri}: expected SHA-256 {expected}, found {digest}"
        raise ManifestError(message)


def is_bookkeeping(name: str) -> bool:
    """Tell whether a file is a writer's own note and no content: ``_SUCCESS``, a hidden file."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))

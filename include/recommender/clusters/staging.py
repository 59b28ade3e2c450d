"""Stage the code of a run under its content hash: a cluster runs exactly what was committed.

The same content gives the same bytes and the same place, on any machine and at any time, so a
retry, a second run and a backfill share one copy, and a running cluster never sees new code.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from recommender import storage
from recommender.errors import ConflictError
from recommender.locations import Locations, join

PACKAGE = "recommender.zip"
ENTRY_POINT = "run_job.py"
CONFIG = "recommender.yaml"
BOOTSTRAP = "bootstrap.sh"
NODE_REQUIREMENTS = "requirements-node.txt"
_PRODUCT = Path(__file__).resolve().parents[1]
NODE = _PRODUCT.parent / "bootstrap"  # what a bare node needs, as it lies in the repository
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can state: contents alone decide the hash


@dataclass(frozen=True)
class StagedCode:
    """Say where the code of a run is, and the hash of its content."""

    uri: str
    content_hash: str

    def file(self, name: str) -> str:
        """Return the URI of one staged file."""
        return join(self.uri, name)


def bundle(package: Path, config: Path, bootstrap: Path) -> dict[str, bytes]:
    """Return every file a cluster needs: name -> content."""
    return {
        PACKAGE: _zip(package),
        ENTRY_POINT: (package / "jobs" / "__main__.py").read_bytes(),
        CONFIG: config.read_bytes(),
        BOOTSTRAP: (bootstrap / "install.sh").read_bytes(),
        NODE_REQUIREMENTS: (bootstrap / "requirements.txt").read_bytes(),
    }


def content_hash(files: dict[str, bytes]) -> str:
    """Hash names and contents: 16 hex digits of SHA-256, collision-free at any number of runs."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def planned(locations: Locations, config: Path) -> StagedCode:
    """Say where the running package would be staged with a recommender's configuration."""
    digest = content_hash(_files(config))
    return StagedCode(locations.code(digest), digest)


def stage(locations: Locations, config: Path) -> StagedCode:
    """Upload the running package with a recommender's configuration, unless it is there already."""
    staged = planned(locations, config)
    for name, data in _files(config).items():
        try:
            storage.write(staged.file(name), data, if_absent=True)
        except ConflictError:
            continue  # same name below the same hash: the same bytes
    return staged


def _files(config: Path) -> dict[str, bytes]:
    return bundle(_PRODUCT, config, NODE)


def _zip(package: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*.py")):
            info = zipfile.ZipInfo(f"{package.name}/{path.relative_to(package)}", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()

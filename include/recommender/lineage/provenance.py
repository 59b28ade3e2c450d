"""Say what made an artifact: library versions, the machine, and the hash of the code."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

CODE_HASH = "RECSYS_CODE_HASH"
_LIBRARIES = ("numpy", "scipy", "implicit", "optuna", "pyarrow")


def describe() -> dict[str, Any]:
    """Return what computes: versions, processor, and the code's content hash.

    The hash is the one that the caller staged the code under; of a job started by hand it is
    ``package:`` and the hash of the package's own files.
    """
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),  # another one adds floats in another order
            **versions,
        },
        "code_hash": os.environ.get(CODE_HASH) or _package_hash(),
    }


@functools.cache
def _package_hash() -> str | None:
    """Hash names and contents of the package; None where it lies in a zip."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(package.rglob("*.py"))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(f"{file.relative_to(package)}\0{len(data)}\0".encode())
        digest.update(data)
    return f"package:{digest.hexdigest()[:16]}"

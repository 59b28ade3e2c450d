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
_SPARK = "pyspark"
_PACKAGE = "package:"


def describe() -> dict[str, Any]:
    """Return what computes: versions, processor, and the code's content hash.

    The hash is the one that the caller staged the code under; of a job started by hand it is
    ``package:`` and the hash of the package's own files.
    """
    return {
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),  # another one adds floats in another order
            **{name: metadata.version(name) for name in _LIBRARIES},
            **_spark(),
        },
        "code_hash": os.environ.get(CODE_HASH) or _package_hash(),
    }


def comparable(one: str, other: str) -> bool:
    """Tell whether two code hashes are of the same kind, so that other hashes mean other code.

    The staged code is more than the package (configuration, pinned libraries): equal code has one
    hash on a cluster and another one of a job started by hand.
    """
    return one.startswith(_PACKAGE) == other.startswith(_PACKAGE)


def _spark() -> dict[str, str]:
    """Return Spark's version where it is installed as a package; nothing is imported or started."""
    try:
        return {_SPARK: metadata.version(_SPARK)}
    except metadata.PackageNotFoundError:
        return {}


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
    return f"{_PACKAGE}{digest.hexdigest()[:16]}"

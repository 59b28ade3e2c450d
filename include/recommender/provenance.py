"""Say what made an artifact: library versions and the hash of the staged code."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

CODE_HASH = "RECSYS_CODE_HASH"
_LIBRARIES = ("numpy", "scipy", "implicit", "optuna", "pyarrow")


def describe() -> dict[str, Any]:
    """Return versions of what computes, and the code's content hash if the caller staged it."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "code_hash": os.environ.get(CODE_HASH),
    }

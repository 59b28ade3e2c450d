"""Say what made an artifact: library versions and the hash of the staged code."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from recommender.errors import ConfigError
from recommender.locations import join

CODE_HASH = "RECSYS_CODE_HASH"
_LIBRARIES = ("numpy", "scipy", "implicit", "pyarrow")


def describe() -> dict[str, Any]:
    """Return versions of what computes, and the code's content hash if the caller staged it."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "code_hash": os.environ.get(CODE_HASH),
    }


def check_apart(output: str, *inputs: str) -> None:
    """Refuse an output that would overwrite an input: the output's prefix is cleared first.

    Raises:
        ConfigError: one of the directories lies inside the other.
    """
    for source in inputs:
        ours, theirs = join(output) + "/", join(source) + "/"
        if ours.startswith(theirs) or theirs.startswith(ours):
            message = f"expected an output apart from the input {source}, found {output}"
            raise ConfigError(message)

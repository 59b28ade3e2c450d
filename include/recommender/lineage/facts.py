"""Read a fact of a version's manifest by its path, and name the one that is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from recommender.errors import ManifestError
from recommender.locations import MANIFEST

Fact = TypeVar("Fact")


def find(about: Mapping[str, Any], path: str, kind: type[Fact]) -> Fact | None:
    """Return the fact at a dotted path (``dataset.uri``); None if it is absent or of another type."""
    found = _at(about, path)
    return found if isinstance(found, kind) else None


def require(about: Mapping[str, Any], path: str, kind: type[Fact]) -> Fact:
    """Return the fact at a dotted path.

    Raises:
        ManifestError: it is absent or of another type.
    """
    found = _at(about, path)
    if isinstance(found, kind):
        return found
    other = "none" if found is None else f"{found!r:.80}"
    message = (
        f"expected {path} in the version's {MANIFEST}, of type {kind.__name__}, found {other}: it "
        "cannot be made again from it; train its snapshot anew instead"
    )
    raise ManifestError(message)


def _at(about: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - a fact is any JSON value
    found: Any = about
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found

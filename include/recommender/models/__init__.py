"""Hold the models: ALS and the popularity baselines, one interface."""

from __future__ import annotations

import json
from pathlib import Path

from recommender.errors import ManifestError
from recommender.models.als import Als
from recommender.models.base import MODEL, Model
from recommender.models.popularity import Popularity

__all__ = ["MODEL", "Als", "Model", "Popularity", "load"]

_KINDS: dict[str, type[Model]] = {model.kind: model for model in (Als, Popularity)}


def load(directory: Path) -> Model:
    """Load the model that a directory's ``model.json`` names.

    Raises:
        ManifestError: the kind is unknown to this code.
    """
    kind = json.loads((directory / MODEL).read_text()).get("model")
    if kind not in _KINDS:
        message = f"{directory / MODEL}: expected a model of {sorted(_KINDS)}, found {kind!r}"
        raise ManifestError(message)
    return _KINDS[kind].load(directory)

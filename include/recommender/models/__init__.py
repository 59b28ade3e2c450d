"""Hold the models: ALS and its contenders, one interface."""

from __future__ import annotations

import json
from pathlib import Path

from recommender.errors import ManifestError
from recommender.models.als import Als
from recommender.models.base import MODEL, Model
from recommender.models.content import Content
from recommender.models.neighbours import ItemItem
from recommender.models.popularity import DecayedPopularity, Popularity
from recommender.models.rules import AssociationRules

__all__ = [
    "MODEL",
    "Als",
    "AssociationRules",
    "Content",
    "DecayedPopularity",
    "ItemItem",
    "Model",
    "Popularity",
    "load",
]

_KINDS: dict[str, type[Model]] = {
    model.kind: model
    for model in (Als, AssociationRules, Content, DecayedPopularity, ItemItem, Popularity)
}


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

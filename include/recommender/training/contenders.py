"""Name the models that stand beside ALS, and build those that the configuration asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from scipy.sparse import csr_matrix

from recommender import config
from recommender.models import (
    AssociationRules,
    Content,
    DecayedPopularity,
    ItemItem,
    Model,
    Popularity,
)

_log = logging.getLogger(__name__)
CONTENT = "content"

_BUILD: dict[str, Callable[[config.Train], Model]] = {
    "popularity": lambda _: Popularity(),
    "popularity_recent": lambda s: Popularity(recent_days=s.recent_days),
    "popularity_decayed": lambda s: DecayedPopularity(s.popularity_half_life_days),
    "item_cosine": lambda s: ItemItem("cosine", s.neighbours, s.threads),
    "item_bm25": lambda s: ItemItem("bm25", s.neighbours, s.threads),
    "association_rules": lambda s: AssociationRules(
        s.rules.min_support, s.rules.min_confidence, s.neighbours, s.threads
    ),
}


@dataclass(frozen=True)
class Contenders:
    """Hold unfitted models by name.

    Attributes:
        models: as configured, in that order.
        left_out: why a configured one is not among them, by name.
    """

    models: dict[str, Model]
    left_out: dict[str, str]

    @property
    def for_new_users(self) -> dict[str, Model]:
        """Return those that serve users without interactions."""
        shared = (Popularity, DecayedPopularity)
        return {name: m for name, m in self.models.items() if isinstance(m, shared)}

    @property
    def for_new_items(self) -> dict[str, Model]:
        """Return those that reach items without interactions."""
        return {name: m for name, m in self.models.items() if isinstance(m, Content)}


def build(settings: config.Train, features: csr_matrix | None) -> Contenders:
    """Build the configured contenders.

    Args:
        settings: names them and their settings.
        features: TF-IDF of the items' metadata; None when the dataset has none.
    """
    built: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    for name in settings.contenders:
        if name != CONTENT:
            built[name] = _BUILD[name](settings)
        elif features is not None:
            built[name] = Content(features, settings.neighbours, settings.threads)
        else:
            left_out[name] = "the dataset has no items_metadata: its snapshot came without items/"
            _log.warning(f"{name} is left out: {left_out[name]}")
    return Contenders(built, left_out)

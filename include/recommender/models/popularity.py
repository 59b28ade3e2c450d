"""Recommend what most users took: the baseline that ALS has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.interactions import Interactions
from recommender.models.base import Model, read_array, read_settings, write_settings
from recommender.ranking import Recommendations, Users, top_k_shared

_COUNTS, _SCORES = "counts.npy", "scores.npy"


class Popularity(Model):
    """Score an item by its distinct users, over all fit rows or over the recent ones.

    Attributes:
        recent_days: count only rows younger than this many days before the newest fit row;
            None counts all.
        counts: (items,) int64 after ``fit``.
    """

    kind: ClassVar[str] = "popularity"

    def __init__(self, recent_days: int | None = None) -> None:
        self.recent_days = recent_days
        self.counts: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def fit(self, interactions: Interactions) -> Self:
        """Count users per item; a pair is one row, so rows are distinct users."""
        self.counts = np.zeros(interactions.shape[1], dtype=np.int64)
        for _, rows in interactions.blocks():
            items = interactions.items[rows]
            if self.recent_days is not None:
                items = items[interactions.age_days(rows) < self.recent_days]
            np.add.at(self.counts, items, 1)
        return self

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Rank items by count; float32 scores tell counts apart up to 2**24 users an item."""
        return top_k_shared(self.counts.astype(np.float32), users, k, seen)

    def reindex(self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> Self:  # noqa: ARG002 - everyone gets the same scores
        """Return the model over other item indices."""
        other = type(self)(self.recent_days)
        other.counts = self.counts[items]
        return other

    def save(self, directory: Path) -> None:
        """Write ``counts.npy`` and ``model.json``."""
        write_settings(directory, self.kind, {"recent_days": self.recent_days})
        np.save(directory / _COUNTS, self.counts, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote."""
        model = cls(**read_settings(directory, cls.kind))
        model.counts = read_array(directory / _COUNTS, np.int64, 1)
        return model


class DecayedPopularity(Model):
    """Score an item by its users, each worth half as much for every half life gone by.

    Attributes:
        half_life_days: age at which a user counts half.
        scores: (items,) float32 after ``fit``.
    """

    kind: ClassVar[str] = "popularity_decayed"

    def __init__(self, half_life_days: float = 28.0) -> None:
        self.half_life_days = half_life_days
        self.scores: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)

    def fit(self, interactions: Interactions) -> Self:
        """Add up 0.5 ** (age / half life) over each item's rows, in float64."""
        total = np.zeros(interactions.shape[1])
        for _, rows in interactions.blocks():
            weights = np.exp2(-interactions.age_days(rows) / self.half_life_days)
            np.add.at(total, interactions.items[rows], weights)
        self.scores = total.astype(np.float32)
        return self

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Rank items by score."""
        return top_k_shared(self.scores, users, k, seen)

    def reindex(self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> Self:  # noqa: ARG002 - everyone gets the same scores
        """Return the model over other item indices."""
        other = type(self)(self.half_life_days)
        other.scores = self.scores[items]
        return other

    def save(self, directory: Path) -> None:
        """Write ``scores.npy`` and ``model.json``."""
        write_settings(directory, self.kind, {"half_life_days": self.half_life_days})
        np.save(directory / _SCORES, self.scores, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote."""
        model = cls(**read_settings(directory, cls.kind))
        model.scores = read_array(directory / _SCORES, np.float32, 1)
        return model

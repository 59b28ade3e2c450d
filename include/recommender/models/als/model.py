"""Recommend by the inner product of factors, whichever engine has found them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.errors import ManifestError
from recommender.interactions import Interactions
from recommender.models.als.engine import Engine, Factors, Run
from recommender.models.als.implicit_engine import ImplicitEngine
from recommender.models.base import Model, read_array, read_settings, write_settings
from recommender.objective import Als as Settings
from recommender.process import one_blas_thread
from recommender.ranking import Recommendations, Scores, Users, top_k

_USERS, _ITEMS = "user_factors.npy", "item_factors.npy"


class Als(Model):
    """Recommend by the inner product of a user's and an item's factors.

    Attributes:
        settings: the objective, the length of the factors and of the fit.
        user_factors: (users, factors) float32, C-contiguous, after ``fit``.
        item_factors: (items, factors) float32, C-contiguous, after ``fit``.
        losses: the objective after each iteration of the last ``fit``, if ``keep_losses``, per pair
            of user and item; see ``loss``.
    """

    kind: ClassVar[str] = "als"

    def __init__(
        self,
        settings: Settings,
        seed: int = 42,
        threads: int = 0,
        *,
        keep_losses: bool = False,
        engine: Engine[Interactions, Factors] | None = None,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.threads = threads
        self.keep_losses = keep_losses
        self.engine = engine or ImplicitEngine()
        self.losses: list[float] = []
        self.user_factors: npt.NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self.item_factors: npt.NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def fit(
        self,
        interactions: Interactions,
        on_iteration: Callable[[int], bool] | None = None,
        start: Factors | None = None,
    ) -> Self:
        """Fit from a seeded random start, or from given factors.

        Args:
            interactions: the fit rows.
            on_iteration: called after every iteration, with the factors readable on the model.
                Returning False ends the fit there, with the factors of that moment: exactly
                those of a fit whose ``iterations`` is that number.
            start: factors to go on from, of the model's length; the fit writes into their arrays.

        Raises:
            BadDataError: the factors are not finite: the weights overflow float32.
        """

        def told(done: int, factors: Factors) -> bool:
            self.user_factors, self.item_factors = factors
            return on_iteration is None or on_iteration(done)

        run = Run(self.seed, self.threads, self.keep_losses)
        fitted = self.engine.fit(interactions, self.settings, run, start=start, on_iteration=told)
        self.user_factors, self.item_factors = fitted.factors
        self.losses = [step.loss for step in fitted.curve if step.loss is not None]
        return self

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Score blocks of users by one float32 matrix product each and rank them."""
        transposed = self.item_factors.T

        def score(block: Users) -> Scores:
            return self.user_factors[block] @ transposed

        with one_blas_thread():
            return top_k(score, users, k, len(self.item_factors), seen, self.threads)

    def reindex(self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> Self:
        """Return the model with rows of the factors taken in another order."""
        other = type(self)(self.settings, self.seed, self.threads)
        other.user_factors = self.user_factors[users]
        other.item_factors = self.item_factors[items]
        return other

    def save(self, directory: Path) -> None:
        """Write both factor matrices and ``model.json``."""
        settings = {"settings": self.settings.model_dump(), "seed": self.seed}
        write_settings(directory, self.kind, settings)
        np.save(directory / _USERS, self.user_factors, allow_pickle=False)
        np.save(directory / _ITEMS, self.item_factors, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ManifestError: the arrays do not fit each other.
        """
        saved = read_settings(directory, cls.kind)
        model = cls(Settings(**saved["settings"]), saved["seed"])
        model.user_factors = read_array(directory / _USERS, np.float32, 2)
        model.item_factors = read_array(directory / _ITEMS, np.float32, 2)
        if model.user_factors.shape[1] != model.item_factors.shape[1]:
            message = (
                f"{directory}: expected user and item factors of one length, found "
                f"{model.user_factors.shape[1]} and {model.item_factors.shape[1]}"
            )
            raise ManifestError(message)
        return model

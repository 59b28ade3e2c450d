"""Factorise with implicit's ALS on the CPU: float32 factors, one BLAS thread, seeded.

implicit weighs a positive with alpha * r and everything else with 1 (not 1 + alpha * r), where r
is the confidence, here also decayed by age. The result is the same to the last bit for any
number of threads: each row of a half-step is solved by one thread.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recommender import history
from recommender.config import Als as Settings
from recommender.errors import BadDataError, ManifestError
from recommender.interactions import Interactions
from recommender.models.base import Model, read_array, read_settings, write_settings
from recommender.ranking import Recommendations, Scores, Users, top_k
from recommender.weighting import weigh

_log = logging.getLogger(__name__)
_USERS, _ITEMS = "user_factors.npy", "item_factors.npy"
_LOG_SECONDS = 10.0

OnIteration = Callable[[int], bool]
"""Is told the iterations done, from 1; returns whether to go on."""


class Factors(NamedTuple):
    """Hold factors to start a fit from; a row of NaN is drawn anew.

    Attributes:
        users: (users, factors) float32.
        items: (items, factors) float32.
    """

    users: npt.NDArray[np.float32]
    items: npt.NDArray[np.float32]


class _StopEarlyError(Exception):
    """Leave implicit's loop, which has no other way out."""


class Als(Model):
    """Recommend by the inner product of a user's and an item's factors.

    Attributes:
        settings: factors, alpha, regularization, iterations, half life.
        user_factors: (users, factors) float32, C-contiguous, after ``fit``.
        item_factors: (items, factors) float32, C-contiguous, after ``fit``.
        losses: the loss after each iteration of the last ``fit``, if ``keep_losses``: implicit's,
            which is the weighted squared error plus the penalty, per pair of user and item.
    """

    kind: ClassVar[str] = "als"

    def __init__(
        self, settings: Settings, seed: int = 42, threads: int = 0, *, keep_losses: bool = False
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.threads = threads
        self.keep_losses = keep_losses
        self.losses: list[float] = []
        self.user_factors: npt.NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self.item_factors: npt.NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def fit(
        self,
        interactions: Interactions,
        on_iteration: OnIteration | None = None,
        start: Factors | None = None,
    ) -> Self:
        """Fit from a seeded random start, or from given factors.

        Args:
            interactions: the fit rows.
            on_iteration: called after every iteration, with the factors readable on the model.
                Returning False ends the fit there, with the factors of that moment: exactly
                those of a fit whose ``iterations`` is that number.
            start: factors to go on from, of the model's length; they are copied.

        Raises:
            BadDataError: the factors are not finite: the weights overflow float32.
        """
        # Imported here: reading and ranking a published model needs no implicit.
        from implicit.cpu.als import AlternatingLeastSquares
        from implicit.recommender_base import ModelFitError

        with threadpool_limits(1, user_api="blas"):
            engine = AlternatingLeastSquares(
                factors=self.settings.factors,
                alpha=self.settings.alpha,
                regularization=self.settings.regularization,
                iterations=self.settings.iterations,
                num_threads=self.threads,
                random_state=self.seed,
                calculate_training_loss=self.keep_losses,
            )
            self.losses = []
            if start is not None:
                engine.user_factors, engine.item_factors = _filled(start, self.seed)
            progress = _Progress(self.settings.iterations, len(interactions))

            def callback(iteration: int, _seconds: float, loss: float | None) -> None:
                if loss is not None:
                    self.losses.append(float(loss))
                self.user_factors, self.item_factors = engine.user_factors, engine.item_factors
                progress.step(iteration + 1)
                if on_iteration is not None and not on_iteration(iteration + 1):
                    raise _StopEarlyError

            # implicit stops at NaN with an error of its own; ours follows, and names infinity too.
            with contextlib.suppress(_StopEarlyError, ModelFitError):
                engine.fit(_weights(interactions, self.settings), False, callback)
        self._check_finite()
        return self

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Score blocks of users by one float32 matrix product each and rank them."""
        transposed = self.item_factors.T

        def score(block: Users) -> Scores:
            return self.user_factors[block] @ transposed

        with threadpool_limits(1, user_api="blas"):
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

    def _check_finite(self) -> None:
        if not (np.isfinite(self.user_factors).all() and np.isfinite(self.item_factors).all()):
            message = (
                f"ALS with {self.settings} gave factors that are not finite: "
                "lower train.als.alpha or raise regularization"
            )
            raise BadDataError(message)


def _filled(start: Factors, seed: int) -> Factors:
    """Copy factors and draw the rows of NaN, as small as implicit draws its own."""
    generator = np.random.default_rng(seed)
    filled = []
    for given in start:
        factors = np.array(given, dtype=np.float32, order="C")
        unknown = np.isnan(factors[:, 0])
        factors[unknown] = 0.01 * generator.random((int(unknown.sum()), factors.shape[1]))
        filled.append(factors)
    return Factors(*filled)


def _weights(interactions: Interactions, settings: Settings) -> csr_matrix:
    """Return r, CSR float32; implicit multiplies it by alpha. See ``weigh``."""
    weights = weigh(
        interactions.confidence,
        np.diff(interactions.indptr),
        interactions.age_days() if len(interactions) else None,
        typical_rows=history.typical_rows(interactions),
        half_life_days=settings.half_life_days,
        user_balance=settings.user_balance,
    )
    return interactions.matrix(weights)


class _Progress:
    """Log a fit's iterations, at most one line in ten seconds."""

    def __init__(self, iterations: int, rows: int) -> None:
        self.iterations, self.rows = iterations, rows
        self.start = self.last = time.monotonic()

    def step(self, done: int) -> None:
        now = time.monotonic()
        if now - self.last < _LOG_SECONDS and done < self.iterations:
            return
        self.last = now
        seconds = now - self.start
        _log.info(
            f"als: iteration {done}/{self.iterations}, {seconds:.1f} s, "
            f"{self.rows * done / max(seconds, 1e-9) / 1e6:.2f} M interactions/s"
        )

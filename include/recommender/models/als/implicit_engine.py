"""Fit with implicit's ALS on the CPU: float32, one BLAS thread, seeded.

implicit weighs a positive with alpha * r and everything else with 1 (not 1 + alpha * r), under one
constant penalty: the canonical objective at exponent 0, divided by ``unobserved``. The result is the
same to the last bit for any number of threads: each row of a half-step is solved by one thread.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

import numpy as np

from recommender.errors import BadDataError
from recommender.interactions import Interactions
from recommender.models.als.engine import Factors, Fitted, OnIteration, Run, Step, peak_bytes
from recommender.models.als.loss import Loss
from recommender.models.als.weighted import weighted
from recommender.objective import IMPLICIT, Als, Engine
from recommender.process import one_blas_thread

_log = logging.getLogger(__name__)
_LOG_SECONDS = 10.0


class _StopEarlyError(Exception):
    """Leave implicit's loop, which has no other way out."""


class ImplicitEngine:
    """Minimise the objective in memory, on this machine."""

    name: Engine = IMPLICIT

    def fit(
        self,
        rows: Interactions,
        als: Als,
        run: Run,
        *,
        start: Factors | None = None,
        on_iteration: OnIteration[Factors] | None = None,
    ) -> Fitted[Factors]:
        """See ``engine.Engine``."""
        # Imported here: reading and ranking a published model needs no implicit.
        from implicit.recommender_base import ModelFitError

        with one_blas_thread():
            library = _library(als, run)
            library.user_factors, library.item_factors = (
                _drawn(rows.shape, als.factors, run.seed)
                if start is None
                else _filled(start, run.seed)
            )
            alpha = translate(als)["alpha"]
            weights = weighted(rows, als, alpha)
            # Not implicit's own, which makes an iteration take 1.6 times as long.
            loss = Loss(weights, als, run.seed, alpha) if run.keep_losses else None
            progress, curve, began = _Progress(als.iterations, len(rows)), [], time.monotonic()

            def callback(iteration: int, _seconds: float, _loss: float | None) -> None:
                now = Factors(library.user_factors, library.item_factors)
                curve.append(Step(time.monotonic() - began, loss(now) if loss else None))
                progress.step(iteration + 1)
                if on_iteration is not None and not on_iteration(iteration + 1, now):
                    raise _StopEarlyError

            # implicit stops at NaN with an error of its own; ours follows, and names infinity too.
            with contextlib.suppress(_StopEarlyError, ModelFitError):
                library.fit(weights, False, callback)
        factors = Factors(library.user_factors, library.item_factors)
        _check_finite(factors, als)
        return Fitted(factors, tuple(curve), time.monotonic() - began, peak_bytes())


def translate(als: Als) -> dict[str, float]:
    """Return implicit's own ``alpha`` and ``regularization`` for an objective at exponent 0."""
    return {
        "alpha": als.alpha / als.unobserved,
        "regularization": als.regularization / als.unobserved,
    }


def _library(als: Als, run: Run) -> Any:  # noqa: ANN401 - implicit has no types
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=als.factors,
        iterations=als.iterations,
        num_threads=run.threads,
        random_state=run.seed,
        alpha=1.0,  # the weights hold it already: implicit would copy them to multiply
        regularization=translate(als)["regularization"],
    )


def _drawn(shape: tuple[int, int], factors: int, seed: int) -> Factors:
    """Draw what implicit would draw, to the bit, scaled in place: it would hold a copy."""
    from implicit.utils import check_random_state

    generator = check_random_state(seed)
    drawn = [generator.random((rows, factors), dtype=np.float32) for rows in shape]
    for one in drawn:
        np.multiply(one, np.float32(0.01), out=one)
    return Factors(*drawn)


def _filled(start: Factors, seed: int) -> Factors:
    """Take factors over and draw the rows of NaN, as small as implicit draws its own."""
    generator = np.random.default_rng(seed)
    filled = []
    for given in start:
        factors = np.require(given, np.float32, ["C", "W"])  # no copy of what is so already
        unknown = np.isnan(factors[:, 0])
        factors[unknown] = 0.01 * generator.random((int(unknown.sum()), factors.shape[1]))
        filled.append(factors)
    return Factors(*filled)


def _check_finite(factors: Factors, als: Als) -> None:
    if not all(np.isfinite(one).all() for one in factors):
        message = (
            f"ALS with {als} gave factors that are not finite: lower train.als.alpha or raise "
            "regularization"
        )
        raise BadDataError(message)


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

"""Propose ALS settings: quasi-random exploration, then refinement around the best.

This is the whole strategy: another one (a library's, say) replaces ``Proposer`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from recommender import config

# Half of the trials look everywhere. The others look around the best one, within this share of
# each (logarithmic) range to either side, shrinking to a third of it by the last trial.
_EXPLORED = 0.5
_RADIUS = 0.25


class Proposer:
    """Propose the setting of each trial after the first; equal seeds propose alike."""

    def __init__(self, start: config.Als, space: config.Search, seed: int) -> None:
        self._start, self._space = start, space
        self._points = _points(space.trials - 1, seed)

    def propose(self, done: int, leader: config.Als) -> config.Als:
        """Return the next setting after ``done`` trials (1 at least), the best being ``leader``."""
        point, progress = self._points[done - 1], (done - 1) / len(self._points)
        if progress < _EXPLORED:
            return _explore(point, self._start, self._space)
        radius = _RADIUS * (1 - 2 / 3 * (progress - _EXPLORED) / (1 - _EXPLORED))
        return _refine(point, leader, self._space, radius)


def _points(count: int, seed: int) -> npt.NDArray[np.float64]:
    """Return (count, 4) points that fill the unit cube evenly (scrambled Sobol)."""
    sampler = qmc.Sobol(d=4, scramble=True, rng=np.random.default_rng(seed))
    # Sobol wants a power of two drawn; the head of one is still spread evenly.
    return np.asarray(sampler.random_base2(max(0, count - 1).bit_length())[:count])


def _explore(point: npt.NDArray[np.float64], start: config.Als, space: config.Search) -> config.Als:
    """Map a point of the unit cube onto the whole space."""
    return _setting(
        start,
        space,
        (float(point[0]), float(point[1])),
        space.factors[int(point[2] * len(space.factors))],
        space.half_life_days[int(point[3] * len(space.half_life_days))],
    )


def _refine(
    point: npt.NDArray[np.float64], around: config.Als, space: config.Search, radius: float
) -> config.Als:
    """Map a point of the unit cube onto the neighbourhood of a setting.

    The start may lie outside the ranges; its neighbours are pulled back in. Alternatives keep
    their value in half of the cases and take a neighbour's place in the list in the others.
    """
    centre = (
        _position(around.alpha, space.alpha),
        _position(around.regularization, space.regularization),
    )
    moved = [
        float(np.clip(c + radius * (2 * x - 1), 0, 1))
        for c, x in zip(centre, point[:2], strict=True)
    ]
    return _setting(
        around,
        space,
        (moved[0], moved[1]),
        _keep_or_move(around.factors, space.factors, float(point[2])),
        _keep_or_move(around.half_life_days, space.half_life_days, float(point[3])),
    )


def _keep_or_move(current: Any, alternatives: Sequence[Any], x: float) -> Any:  # noqa: ANN401 - any listed value
    """Move one place down for x below a quarter, up from three quarters, else stay."""
    if current not in alternatives:
        return current if x < 0.5 else alternatives[int((2 * x - 1) * len(alternatives))]
    step = -1 if x < 0.25 else int(x >= 0.75)
    place = alternatives.index(current) + step
    return alternatives[min(max(place, 0), len(alternatives) - 1)]


def _position(value: float, ends: tuple[float, float]) -> float:
    """Return where a value lies in a log-uniform range, 0 to 1 inside it."""
    low, high = np.log(ends[0]), np.log(ends[1])
    return float((np.log(max(value, 1e-12)) - low) / (high - low)) if high > low else 0.5


def _setting(
    base: config.Als,
    space: config.Search,
    position: tuple[float, float],
    factors: int,
    half_life_days: float | None,
) -> config.Als:
    def value(at: float, ends: tuple[float, float]) -> float:
        # Four digits: nobody reads more, and a setting copied from the log is the same one.
        return float(f"{ends[0] * (ends[1] / ends[0]) ** at:.4g}")

    return base.model_copy(
        update={
            "alpha": value(position[0], space.alpha),
            "regularization": value(position[1], space.regularization),
            "factors": factors,
            "half_life_days": half_life_days,
            "iterations": space.max_iterations,
        }
    )

"""Choose ALS settings on the validation window: quasi-random exploration, then refinement.

A trial is one fit on the training window alone. Its iterations are chosen inside it: recall is
measured at a few checkpoints and the best one is kept, which costs nothing extra, because a
fit's state after i iterations is the state of a fit of i iterations.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from recommender import config
from recommender.interactions import Interactions
from recommender.models import Als

_log = logging.getLogger(__name__)

# Half of the trials look everywhere. The others look around the best one, within this share of
# each (logarithmic) range to either side, shrinking to a third of it by the last trial.
_EXPLORED = 0.5
_RADIUS = 0.25
# A trial is judged from here on. Before, factors still forget their random start: on grocery data
# good settings had half of the other trials ahead of them at iteration 4.
_FIRST_JUDGED = 6
_PATIENCE = 2  # one checkpoint in a row below the trial's own best is noise, two are the trend
_HOPELESS = 0.9  # below this share of the best trial's recall no later iteration caught up

Measure = Callable[[Als], float]
"""Maps a (partly) fitted model to its recall on the validation window."""


@dataclass(frozen=True)
class Trial:
    """Record one trial.

    Attributes:
        setting: what was fitted; ``iterations`` is the best checkpoint.
        recall: Recall@K there, on the validation window.
        checkpoints: (iterations, recall) along the fit.
        seconds: wall time of fit and measurement.
    """

    setting: config.Als
    recall: float
    checkpoints: tuple[tuple[int, float], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return {**asdict(self), "setting": self.setting.model_dump()}


RunTrial = Callable[[config.Als, float], Trial]
"""Fits one setting; the number is the best recall so far, see ``fit_trial``."""


def search(run_trial: RunTrial, start: config.Als, space: config.Search, seed: int) -> list[Trial]:
    """Run trials within the budget of ``space`` and return all of them, in order.

    The first trial is ``start`` itself, with as many iterations as serve it best. Equal seeds
    propose equal settings as long as time does not run out.
    """
    proposals = _points(space.trials - 1, seed)
    began = time.monotonic()
    # The start may ask for more iterations than a trial gets, never for fewer.
    longest = max(start.iterations, space.max_iterations)
    trials = [run_trial(start.model_copy(update={"iterations": longest}), 0.0)]
    _report(trials, space, began)
    for number, point in enumerate(proposals):
        if time.monotonic() - began > 60 * space.minutes:
            _log.warning(f"search: {space.minutes:g} minutes are over after {len(trials)} trials")
            break
        refining = number / len(proposals) - _EXPLORED
        if refining < 0:
            setting = _explore(point, start, space)
        else:
            radius = _RADIUS * (1 - 2 / 3 * refining / (1 - _EXPLORED))
            setting = _refine(point, best(trials).setting, space, radius)
        trials.append(run_trial(setting, best(trials).recall))
        _report(trials, space, began)
    return trials


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial of highest recall, the earliest of equal ones."""
    return max(trials, key=lambda trial: trial.recall)


def fit_trial(model: Als, interactions: Interactions, measure: Measure, bar: float) -> Trial:
    """Fit one trial, measuring at checkpoints and stopping once recall keeps falling.

    Args:
        model: to be fitted; its ``iterations`` is the longest fit.
        interactions: the training window.
        measure: gives the recall of the model as it is at a checkpoint.
        bar: the best recall of earlier trials, 0 if there are none.
    """
    began = time.monotonic()
    planned = checkpoints(model.settings.iterations)
    curve: list[tuple[int, float]] = []

    def on_iteration(done: int) -> bool:
        if done not in planned:
            return True
        curve.append((done, measure(model)))
        return done < _FIRST_JUDGED or _promising([recall for _, recall in curve], bar)

    model.fit(interactions, on_iteration)
    iterations, recall = max(curve, key=lambda pair: pair[1])
    setting = model.settings.model_copy(update={"iterations": iterations})
    return Trial(setting, recall, tuple(curve), time.monotonic() - began)


def checkpoints(iterations: int) -> frozenset[int]:
    """Return where to measure: 3, 4, 5, 7, 9, 12, 16, 22, ... and the last iteration.

    A step of about a third: recall changes fast at first and hardly later.
    """
    planned, step = {iterations}, 3
    while step < iterations:
        planned.add(step)
        step = max(step + 1, round(step * 1.35))
    return frozenset(planned)


def _promising(recalls: Sequence[float], bar: float) -> bool:
    """Tell whether more iterations may pay: not far behind the best trial, not falling."""
    newest, earlier = recalls[-_PATIENCE:], recalls[:-_PATIENCE]
    return recalls[-1] >= _HOPELESS * bar and max(newest) >= max(earlier, default=0.0)


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


def _report(trials: Sequence[Trial], space: config.Search, began: float) -> None:
    """Log the newest trial, the best so far and when the search will end."""
    trial, elapsed = trials[-1], time.monotonic() - began
    left = min(
        elapsed / len(trials) * (space.trials - len(trials)), max(0.0, 60 * space.minutes - elapsed)
    )
    s = trial.setting
    _log.info(
        f"search: trial {len(trials)}/{space.trials}: factors {s.factors}, alpha {s.alpha:g}, "
        f"regularization {s.regularization:g}, half life {s.half_life_days or 'none'}: "
        f"recall {trial.recall:.4f} at iteration {s.iterations}, "
        f"best {best(trials).recall:.4f}, {trial.seconds:.1f} s, {left:.0f} s left"
    )

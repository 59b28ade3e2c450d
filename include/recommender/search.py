"""Choose ALS settings on the validation window, within a budget of trials and minutes.

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

from recommender import config
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.proposals import Proposer

_log = logging.getLogger(__name__)

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
    proposer = Proposer(start, space, seed)
    began = time.monotonic()
    # The start may ask for more iterations than a trial gets, never for fewer.
    longest = max(start.iterations, space.max_iterations)
    trials = [run_trial(start.model_copy(update={"iterations": longest}), 0.0)]
    _report(trials, space, began)
    while len(trials) < space.trials:
        if time.monotonic() - began > 60 * space.minutes:
            _log.warning(f"search: {space.minutes:g} minutes are over after {len(trials)} trials")
            break
        leader = best(trials)
        trials.append(run_trial(proposer.propose(len(trials), leader.setting), leader.recall))
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

"""Choose ALS settings on the validation window with Optuna, within a budget of trials and minutes.

A trial is one fit on the training window alone. Its iterations are chosen inside it: recall is
measured at a few checkpoints and the best one is kept, which costs nothing extra, because a
fit's state after i iterations is the state of a fit of i iterations.

Trials run in batches. What a batch proposes depends on the seed, its number and the results of
the batches before it, on nothing else: neither on which trial of a batch ends first, nor on
whether the search was interrupted in between.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recommender import config
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.models.als import Factors
from recommender.process import one_blas_thread

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_log = logging.getLogger(__name__)

# A trial is judged from here on: started from singular vectors, a fit is near its end by then.
_FIRST_JUDGED = 2
# From there recall rises to its best and falls: one lower checkpoint is the trend.
_PATIENCE = 1
# This share of the trials, in whole batches, looks everywhere before TPE has something to learn from.
_EXPLORED = 0.4
# Roberts' R4: powers of the root of x^5 = x + 1, of lowest discrepancy in four dimensions.
_STEPS = 1.1673039782614187 ** -np.arange(1.0, 5.0)

Measure = Callable[[Als], float]
"""Maps a (partly) fitted model to its recall on the validation window."""

Hopeless = Callable[[int, float], bool]
"""Is told the iteration and the recall there; returns whether to give the trial up."""


@dataclass(frozen=True)
class Trial:
    """Record one trial.

    Attributes:
        setting: what was fitted; ``iterations`` is the best checkpoint.
        recall: Recall@K there, on the validation window.
        checkpoints: (iterations, recall) along the fit.
        seconds: wall time of fit and measurement.
        params: what Optuna proposed, unrounded; empty for the start, which it did not propose.
        pruned: whether it was given up for being far behind.
    """

    setting: config.Als
    recall: float
    checkpoints: tuple[tuple[int, float], ...]
    seconds: float
    params: dict[str, Any]
    pruned: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return {**asdict(self), "setting": self.setting.model_dump()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Trial:
        """Parse a stored document."""
        points = tuple((int(i), float(recall)) for i, recall in document["checkpoints"])
        setting = config.Als(**document["setting"])
        return cls(**{**document, "setting": setting, "checkpoints": points})


RunTrial = Callable[[config.Als, Hopeless], Trial]
"""Fits one setting; see ``fit_trial``."""

Keep = Callable[[Sequence[Trial]], None]
"""Is told all trials so far after every batch, to store them."""


def search(
    run_trial: RunTrial,
    start: config.Als,
    space: config.Search,
    seed: int,
    done: Sequence[Trial] = (),
    keep: Keep = lambda _: None,
    *,
    workers: int = 1,
) -> list[Trial]:
    """Run trials within the budget of ``space`` and return all of them, in order.

    The first trial is ``start`` itself, with as many iterations as serve it best. Equal seeds
    propose equal settings as long as time does not run out.

    Args:
        run_trial: fits one setting.
        start: the setting to begin with.
        space: ranges and budget.
        seed: of the proposals.
        done: whole batches of an interrupted search of the same arguments, to go on from.
        keep: stores the trials after every batch.
        workers: trials run at the same time; any number gives the same trials.
    """
    study, trials = _study(), list(done)
    for trial in trials:
        _add(study, trial, space)
    began = time.monotonic()
    with one_blas_thread():  # here: a trial's own limit ends with that trial
        while len(trials) < space.trials:
            if trials and time.monotonic() - began > 60 * space.minutes:
                _log.warning(
                    f"search: {space.minutes:g} minutes are over after {len(trials)} trials"
                )
                break
            trials += _batch(study, run_trial, start, space, seed, trials, workers)
            keep(trials)
            _report(trials, len(done), space, began)
    return trials


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial of highest recall, the earliest of equal ones."""
    return max(trials, key=lambda trial: trial.recall)


def narrowed(space: config.Search, around: config.Als) -> config.Search:
    """Return the space of a local search: the neighbourhood of a setting, a few trials."""
    span, penalty = space.local_span, around.regularization / around.alpha
    return space.model_copy(
        update={
            "trials": space.local_trials,
            "alpha": (around.alpha / span, around.alpha * span),
            "penalty": (penalty / span, penalty * span),
            "factors": (around.factors,),
            "half_life_days": (around.half_life_days,),
        }
    )


def fit_trial(
    model: Als,
    interactions: Interactions,
    measure: Measure,
    hopeless: Hopeless,
    start: Factors | None = None,
) -> Trial:
    """Fit one trial, measuring at checkpoints and stopping once recall keeps falling.

    Args:
        model: to be fitted; its ``iterations`` is the longest fit.
        interactions: the training window.
        measure: gives the recall of the model as it is at a checkpoint.
        hopeless: tells at a checkpoint whether the trial is too far behind to go on.
        start: factors to start from; None draws them.
    """
    began = time.monotonic()
    planned = checkpoints(model.settings.iterations)
    curve: list[tuple[int, float]] = []
    given_up = False

    def on_iteration(done: int) -> bool:
        nonlocal given_up
        if done not in planned:
            return True
        curve.append((done, measure(model)))
        given_up = hopeless(*curve[-1])
        return not given_up and not _falling([r for _, r in curve])

    model.fit(interactions, on_iteration, start)
    iterations, recall = max(curve, key=lambda pair: pair[1])
    setting = model.settings.model_copy(update={"iterations": iterations})
    return Trial(setting, recall, tuple(curve), time.monotonic() - began, {}, given_up)


def checkpoints(iterations: int) -> frozenset[int]:
    """Return where to measure: 2, 3, 5, 8, 12, 18, 27, ... and the last iteration.

    A step of a half: recall changes fast at first and hardly later, and on data with many users a
    measurement costs as much as an iteration.
    """
    planned, step = {iterations}, _FIRST_JUDGED
    while step < iterations:
        planned.add(step)
        step = math.ceil(step * 1.5)
    return frozenset(planned)


def _falling(recalls: Sequence[float]) -> bool:
    """Tell whether the newest checkpoints all lie below an earlier one."""
    newest, earlier = recalls[-_PATIENCE:], recalls[:-_PATIENCE]
    return max(newest) < max(earlier, default=0.0)


def _study() -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # its own lines would repeat ours
    return optuna.create_study(direction="maximize")


def _batch(
    study: optuna.Study,
    run_trial: RunTrial,
    start: config.Als,
    space: config.Search,
    seed: int,
    before: Sequence[Trial],
    workers: int,
) -> list[Trial]:
    """Propose and run the trials after those ``before`` that go side by side."""
    number = len(before)
    if not number:
        # Alone: it sets the bar. It may ask for more iterations than a trial gets, never for fewer.
        longest = max(start.iterations, space.max_iterations)
        return [run_trial(start.model_copy(update={"iterations": longest}), lambda *_: False)]
    study.sampler = _sampler(seed, number)
    size = min(space.parallel, space.trials - number)
    if number < math.ceil(_EXPLORED * space.trials):
        for place in range(number, number + size):
            study.enqueue_trial(_spread(space, seed, place))
    asked = [study.ask(_distributions(space)) for _ in range(size)]
    # By those before only: no trial of a batch is judged by another. Optuna's median pruner would
    # stop half of the trials once TPE has found the good corner, where all are close to each other.
    bar = space.prune_below * best(before).recall

    def hopeless(iteration: int, recall: float) -> bool:
        return iteration >= _FIRST_JUDGED and recall < bar

    def run(trial: optuna.Trial) -> Trial:
        found = run_trial(_setting(start, space, trial.params), hopeless)
        return Trial(**{**vars(found), "params": dict(trial.params)})

    with ThreadPoolExecutor(min(size, workers)) as pool:
        found = list(pool.map(run, asked))
    for trial, result in zip(asked, found, strict=True):
        study.tell(trial, result.recall)
    return found


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return TPE with a seed of its own for each batch: no state to lose in an interruption."""
    import optuna

    drawn = np.random.SeedSequence([seed, number]).generate_state(1)[0]
    return optuna.samplers.TPESampler(seed=int(drawn), n_startup_trials=1)


def _spread(space: config.Search, seed: int, place: int) -> dict[str, Any]:
    """Return a point of an additive recurrence over the space: random points leave holes."""
    shift = np.random.default_rng(seed).random(len(_STEPS))
    alpha, penalty, factors, half_life = (shift + place * _STEPS) % 1

    def between(bounds: tuple[float, float], share: float) -> float:
        low, high = bounds
        return float(min(high, low * (high / low) ** share))

    return {
        "alpha": between(space.alpha, alpha),
        "penalty": between(space.penalty, penalty),
        "factors": space.factors[int(factors * len(space.factors))],
        "half_life_days": space.half_life_days[int(half_life * len(space.half_life_days))],
    }


def _distributions(space: config.Search) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        "alpha": FloatDistribution(*space.alpha, log=True),
        "penalty": FloatDistribution(*space.penalty, log=True),
        "factors": CategoricalDistribution(space.factors),
        "half_life_days": CategoricalDistribution(space.half_life_days),
    }


def _add(study: optuna.Study, trial: Trial, space: config.Search) -> None:
    """Tell a study of a trial that another one has run; the start was never asked for."""
    if not trial.params:
        return
    import optuna

    study.add_trial(
        optuna.trial.create_trial(
            params=trial.params, distributions=_distributions(space), value=trial.recall
        )
    )


def _setting(start: config.Als, space: config.Search, params: dict[str, Any]) -> config.Als:
    # Four digits: nobody reads more, and a setting copied from the log is the same one.
    alpha, regularization = params["alpha"], params["alpha"] * params["penalty"]
    return start.model_copy(
        update={
            "alpha": float(f"{alpha:.4g}"),
            "regularization": float(f"{regularization:.4g}"),
            "factors": params["factors"],
            "half_life_days": params["half_life_days"],
            "iterations": space.max_iterations,
        }
    )


def _report(trials: Sequence[Trial], resumed: int, space: config.Search, began: float) -> None:
    """Log the newest batch, the best so far and when the search will end."""
    elapsed, run = time.monotonic() - began, len(trials) - resumed
    left = min(elapsed / run * (space.trials - len(trials)), max(0.0, 60 * space.minutes - elapsed))
    trial = trials[-1]
    s = trial.setting
    _log.info(
        f"search: trial {len(trials)}/{space.trials}: factors {s.factors}, alpha {s.alpha:g}, "
        f"regularization {s.regularization:g}, half life {s.half_life_days or 'none'}: "
        f"recall {trial.recall:.4f} at iteration {s.iterations}, "
        f"best {best(trials).recall:.4f}, {trial.seconds:.1f} s, {left:.0f} s left"
    )

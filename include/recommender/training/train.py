"""Train: choose settings on the validation window, then fit everything on all fit rows."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from scipy.sparse import csr_matrix

from recommender import config
from recommender.artifact import ALS
from recommender.clusters import sizing
from recommender.dataset import TRAIN, VALIDATION
from recommender.errors import EmptyDatasetError
from recommender.evaluation import metrics
from recommender.interactions import Interactions, merge
from recommender.models import Als, Model
from recommender.models.als import Factors
from recommender.training import engine_choice, spectral_start
from recommender.training.contenders import Contenders
from recommender.training.engine_choice import Size
from recommender.training.plans import NONE, WIDE, Plan
from recommender.training.search import Hopeless, RunTrial, Trial, best, fit_trial, search
from recommender.training.study import Study
from recommender.training.warm_start import WarmStart

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Hold the fitted models and how their settings were chosen.

    Attributes:
        models: by name, fitted on training and validation rows.
        setting: the ALS setting that was fitted.
        search: the record of the search; None if there was none.
        fit_rows: the pairs that were fitted.
        notes: seconds of each fit, ALS's recall on the validation window by iteration, its loss
            by iteration of the final fit, what that fit started from, and why a contender was
            left out.
    """

    models: dict[str, Model]
    setting: config.Als
    search: dict[str, Any] | None
    fit_rows: Interactions
    notes: dict[str, Any]


class Windows(Protocol):
    """Read the windows of a dataset; the fit wants no two copies of a row in memory at once."""

    def __call__(self, *names: str) -> Interactions:
        """Return one window, or some together: of equal pairs the latest and strongest."""


def in_memory(training: Interactions, validation: Interactions) -> Windows:
    """Serve windows that are at hand already."""
    found = {TRAIN: training, VALIDATION: validation}
    return lambda *names: reduce(merge, (found[name] for name in names))


def train(
    windows: Windows,
    recommender: config.Recommender,
    contenders: Contenders,
    plan: Plan,
    study: Study,
    warm: WarmStart | None = None,
) -> Trained:
    """Choose and fit. Nothing here has seen a row of the test window.

    The final fit of a wide search starts anew, from the singular vectors of its rows; those in
    between go on from the champion's factors. Trials always start anew: the champion may have been
    fitted on the validation window.

    Args:
        windows: reads the rows, each window when it is needed.
        recommender: its configuration.
        contenders: to fit beside ALS.
        plan: how to choose the setting.
        study: where the trials are kept.
        warm: the champion's factors.

    Raises:
        EmptyDatasetError: there is nothing to fit, or nothing to choose settings on.
    """
    settings, record = recommender.train, None
    setting = plan.start
    if plan.mode != NONE:
        baselines = contenders.for_new_users
        record = _choose(windows, recommender, plan, study, baselines)
        setting = config.Als(**record["chosen"]["setting"])
    fit_rows = windows(TRAIN, VALIDATION)
    if not len(fit_rows):
        message = "expected interactions to fit, found none in the training and validation windows"
        raise EmptyDatasetError(message)
    start = _start(warm, setting, settings, plan)
    if start is not None:
        setting = setting.model_copy(update={"iterations": settings.warm_iterations})
    _log.info(f"fitting {setting} on {len(fit_rows):,} pairs of training and validation")
    als = Als(setting, settings.seed, settings.threads, keep_losses=True)
    began = time.monotonic()
    als.fit(fit_rows, start=start.factors if start else _cold_start(fit_rows, setting, settings))
    seconds = {ALS: round(time.monotonic() - began, 3)}
    for name, model in contenders.models.items():
        seconds[name] = _timed_fit(model, fit_rows)
    notes = {
        "seconds_fit": seconds,
        "validation_curve": _curve(record),
        "train_loss": als.losses,
        "warm_start": start.about if start else None,
        "left_out": contenders.left_out,
    }
    return Trained({ALS: als, **contenders.models}, setting, record, fit_rows, notes)


def _start(
    warm: WarmStart | None, setting: config.Als, settings: config.Train, plan: Plan
) -> WarmStart | None:
    """Return what the final fit starts from; None to start anew."""
    if warm is None or plan.mode == WIDE or not settings.warm_iterations:
        return None
    found = warm.factors.items.shape[1]
    if found != setting.factors:
        _log.info(f"no warm start: the champion has {found} factors, not {setting.factors}")
        return None
    _log.info(f"starting from the champion's factors: {warm.about}")
    return warm


def _cold_start(rows: Interactions, setting: config.Als, settings: config.Train) -> Factors:
    found = spectral_start.directions(rows, setting, setting.factors, settings.seed)
    return found.start(setting)


def _timed_fit(model: Model, rows: Interactions) -> float:
    began = time.monotonic()
    model.fit(rows)
    return round(time.monotonic() - began, 3)


def _curve(record: Mapping[str, Any] | None) -> list[dict[str, float]]:
    """Return the chosen trial's recall on the validation window by iteration."""
    if record is None:
        return []
    return [{"iteration": i, "recall": recall} for i, recall in record["chosen"]["checkpoints"]]


def _choose(
    windows: Windows,
    recommender: config.Recommender,
    plan: Plan,
    study: Study,
    baselines: Mapping[str, Model],
) -> dict[str, Any]:
    """Search on the validation window and return the record that is stored."""
    training, held_out = windows(TRAIN), windows(VALIDATION).matrix()
    measure, population = _judge(training, held_out, recommender.evaluate)
    _log.info(f"choosing settings on the validation window ({plan.mode}): {population}")
    bars = {name: measure(model.fit(training)) for name, model in baselines.items()}
    cores = recommender.train.threads or os.cpu_count() or 1
    workers = max(1, min(plan.space.parallel, cores, _side_by_side(training, plan)))
    trials = search(
        # A share of the cores each: OpenMP's threads spin while they wait for one another.
        _runner(training, measure, plan, recommender.train.seed, cores // workers),
        plan.start,
        plan.space,
        recommender.train.seed,
        study.done(),
        study.keep,
        workers=workers,
    )
    _compare_with_popularity(best(trials), bars)
    return {
        "mode": plan.mode,
        "why": plan.why,
        "k": recommender.evaluate.k,
        "population": population,
        "baselines": bars,
        **_record(trials, max(bars.values())),
    }


def _judge(
    training: Interactions, held_out: csr_matrix, settings: config.Evaluate
) -> tuple[Callable[[Model], float], dict[str, int]]:
    """Return what measures a model's recall on the validation window, and whom it measures.

    Raises:
        EmptyDatasetError: nobody can be measured there.
    """
    seen = training.matrix()
    population = metrics.population(seen, held_out, filter_seen=settings.filter_seen)
    if not population.counts["users"]:
        message = (
            "expected validation rows of users and items of the training window, found none: "
            f"{population.counts}. Lengthen preprocess.validation_days or set train.search to null"
        )
        raise EmptyDatasetError(message)

    def measure(model: Model) -> float:
        filtered = seen if settings.filter_seen else None
        lists = model.recommend(population.users, settings.k, filtered).items
        hits = metrics.hits(lists, population.held_out)
        return float(metrics.recall(hits, population.sizes).mean())

    return measure, population.counts


def _runner(
    training: Interactions, measure: Callable[[Model], float], plan: Plan, seed: int, threads: int
) -> RunTrial:
    """Return what fits one setting; where fits start from is found once for all of them."""
    space, first = plan.space, plan.start
    directions = spectral_start.of_every_half_life(
        training,
        first,
        {*space.half_life_days, first.half_life_days},
        max(*space.factors, first.factors),
        seed,
    )

    def run(setting: config.Als, hopeless: Hopeless) -> Trial:
        start = directions[setting.half_life_days].start(setting)
        return fit_trial(Als(setting, seed, threads), training, measure, hopeless, start)

    return run


def _side_by_side(training: Interactions, plan: Plan) -> int:
    """Return how many trials fit the memory at the same time; it changes their time only."""
    size = Size(len(training), *training.shape)
    factors = max(*plan.space.factors, plan.start.factors)
    starts = engine_choice.half_lives(plan.space, plan.start)
    shared = starts * engine_choice.directions(size, factors)
    return max(0, sizing.this_machine().memory - shared) // engine_choice.needed(size, factors)


def _record(trials: Sequence[Trial], bar: float) -> dict[str, Any]:
    """Return all trials and the chosen one, with ``bar`` the strongest baseline's recall."""
    chosen = best(trials)
    return {
        "trials": [trial.to_json() for trial in trials],
        "chosen": {
            "setting": chosen.setting.model_dump(),
            "recall": chosen.recall,
            "checkpoints": [list(point) for point in chosen.checkpoints],
            "beats_popularity": chosen.recall > bar,
        },
    }


def _compare_with_popularity(chosen: Trial, baselines: dict[str, float]) -> None:
    """Say how the best trial stands; it is trained in any case, because the gate decides."""
    name = max(baselines, key=lambda key: baselines[key])
    text = f"validation recall: als {chosen.recall:.4f}, {name} {baselines[name]:.4f}"
    if chosen.recall > baselines[name]:
        _log.info(text)
    else:
        _log.warning(f"{text}: no setting beats popularity; training the best, the gate decides")

"""Compare a nightly refit with a cold fit of 15 iterations on consecutive snapshots.

The nightly refit goes on from the factors of the snapshot before, mapped by id, for a few iterations;
beside it stands a cold fit stopped where the validation window was served best. All measured on the
test window of the newer snapshot, in one run.

    PYTHONPATH=include python benchmarks/warm_start.py WORK_FOLDER AMAZON_FOLDER
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from real_data import RealDataset, prepare

from recommender import config
from recommender.artifact import ALS, Candidate
from recommender.config import Recommender
from recommender.dataset import TEST, TRAIN, VALIDATION, Dataset, open_dataset
from recommender.evaluation import metrics
from recommender.evaluation.metrics import Population
from recommender.interactions import Interactions, merge
from recommender.models import Als
from recommender.models.als import Factors
from recommender.training import spectral_start
from recommender.training.search import fit_trial
from recommender.training.warm_start import from_champion

REPEATS = 3
THREADS = 1  # of several, some only wait for the others, and the processor counts that too


def main() -> None:
    """Print the table."""
    work, data = Path(sys.argv[1]), Path(sys.argv[2])
    found = [d for d in prepare(work, data) if d.name.startswith("complete_journey")]
    print(
        "snapshot              fit                          seconds   Recall@20   of the cold fit's"
    )
    for older, newer in zip(found[1:], found, strict=False):
        compare(older, newer)


def compare(older: RealDataset, newer: RealDataset) -> None:
    """Fit the newer snapshot cold, stopped early, and on from the older one's factors."""
    recommender = config.load(newer.config)
    before, after = open_dataset(older.uri), open_dataset(newer.uri)
    setting = recommender.train.als
    champion = stopped_early(before, recommender)
    fit_rows = merge(after.window(TRAIN), after.window(VALIDATION))
    measure = recall_on(fit_rows, after, recommender)
    about = {"fit_until": before.fit_until}
    version = Candidate({ALS: champion}, before.users, before.items, about)
    warm = from_champion(version, older.uri, after.users, after.items, after.fit_until)
    if warm is None:
        sys.exit(f"{older.name} cannot be the start of {newer.name}")
    start = warm.factors
    stopped = stopped_early(after, recommender).settings.iterations

    seed = recommender.train.seed

    def fit(iterations: int, **more: Any) -> Callable[[], Als]:  # noqa: ANN401 - passed on
        longest = setting.model_copy(update={"iterations": iterations})
        return lambda: Als(longest, seed, THREADS).fit(fit_rows, **more)

    def cold(iterations: int) -> Callable[[], Als]:
        def start_and_fit() -> Als:
            return fit(iterations, start=from_directions(fit_rows, setting, seed))()

        return start_and_fit

    cold_seconds, model = timed(fit(15))
    rows = [("from noise, 15 iterations", cold_seconds, measure(model))]
    for iterations in sorted({2, 3, 4, 5, stopped}):
        mark = " (stopped there)" if iterations == stopped else ""
        name = f"from directions, {iterations}{mark}"
        rows.append((name, *scored(cold(iterations), measure)))
    for iterations in (1, 2, 3, 4, 5):
        copied = Factors(*(one.copy() for one in start))  # a fit writes into what it starts from
        fitted = scored(fit(iterations, start=copied), measure)
        rows.append((f"warm, {iterations} iterations", *fitted))
    for name, seconds, recall in rows:
        print(
            f"{newer.name:20}  {name:28} {seconds:7.2f}   {recall:.4f}      "
            f"time {seconds / cold_seconds:.2f}, recall {recall / rows[0][2] - 1:+.1%}"
        )


def stopped_early(dataset: Dataset, recommender: Recommender) -> Als:
    """Fit all fit rows for as many iterations as serve the validation window best."""
    training, validation = dataset.window(TRAIN), dataset.window(VALIDATION)
    seen, k = training.matrix(), recommender.evaluate.k
    population = metrics.population(seen, validation.matrix(), filter_seen=True)

    def recall(model: Als) -> float:
        lists = model.recommend(population.users, k, seen).items
        return float(metrics.per_user(lists, population)["recall"].mean())

    longest = recommender.train.als.model_copy(update={"iterations": 20})
    seed = recommender.train.seed
    trial = fit_trial(
        Als(longest, seed),
        training,
        recall,
        lambda *_: False,
        from_directions(training, longest, seed),
    )
    fit_rows, setting = merge(training, validation), trial.setting
    return Als(setting, seed).fit(fit_rows, start=from_directions(fit_rows, setting, seed))


def from_directions(rows: Interactions, setting: config.Als, seed: int) -> Factors:
    """Return the start that a job's cold fit has."""
    return spectral_start.directions(rows, setting, setting.factors, seed).start(setting)


def recall_on(
    fit_rows: Interactions, dataset: Dataset, recommender: Recommender
) -> Callable[[Als], float]:
    """Return what measures a model on the dataset's test window."""
    seen = fit_rows.matrix()
    population: Population = metrics.population(seen, dataset.pairs(TEST), filter_seen=True)

    def measure(model: Als) -> float:
        lists = model.recommend(population.users, recommender.evaluate.k, seen).items
        return float(metrics.per_user(lists, population)["recall"].mean())

    return measure


def scored(fit: Callable[[], Als], measure: Callable[[Als], float]) -> tuple[float, float]:
    """Return seconds and recall of a fit."""
    seconds, model = timed(fit)
    return seconds, measure(model)


def timed(fit: Callable[[], Als]) -> tuple[float, Als]:
    """Return the median of the processor's seconds of a few equal fits, and the last model."""
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        model = fit()
        seconds.append(time.process_time() - began)
    return float(np.median(seconds)), model


if __name__ == "__main__":
    main()

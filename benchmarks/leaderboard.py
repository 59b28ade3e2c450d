"""Measure every contender on real data, ALS tuned by the pipeline, beside a wide hand grid.

Settings are chosen on the validation window, by the search and by the grid alike, and each one's choice
is measured once on the test window. The best of a grid's hundreds of measurements is a lucky one: the
same point from other random starts says how lucky.

    PYTHONPATH=include python benchmarks/leaderboard.py WORK_FOLDER AMAZON_FOLDER [--grid] [--months 3]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from real_data import RealDataset, prepare

from recommender import config
from recommender.artifact import ALS
from recommender.config import Contender, Recommender
from recommender.dataset import TEST, TRAIN, VALIDATION, Dataset, open_dataset
from recommender.evaluation import bootstrap, leaderboard, metrics
from recommender.interactions import Interactions, merge
from recommender.models import Als, Model
from recommender.training import contenders, plans
from recommender.training.study import Study
from recommender.training.train import in_memory, train

GRID = {
    "factors": (32, 64, 128),
    "alpha": (2.0, 5.0, 10.0, 20.0, 40.0, 80.0),
    "regularization": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "half_life_days": (None,),
}
# A fit of the Complete Journey takes seconds, and its old purchases say less.
LARGE = {
    "factors": (32, 64, 128),
    "alpha": (5.0, 10.0, 20.0, 40.0),
    "regularization": (30.0, 100.0, 300.0),
    "half_life_days": (None, 60.0),
}

SEEDS = (1, 2, 3, 4)
LOOKED_AT = (2, 3, 4, 5, 7, 9, 12, 16, 20)


def main() -> None:
    """Print one table for each data set, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--months", type=int, default=3, help="snapshots of the Complete Journey")
    parser.add_argument("--grid", action="store_true", help="fit the hand grid as well")
    parser.add_argument("--only", default="", help="data sets whose name begins so")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for dataset in prepare(arguments.work, arguments.data, arguments.months):
        if dataset.name.startswith(arguments.only):
            measure(dataset, grid=arguments.grid)


def measure(real: RealDataset, *, grid: bool) -> None:
    """Tune, fit and measure one data set."""
    dataset, recommender = open_dataset(real.uri), everyone(config.load(real.config))
    windows = dataset.window(TRAIN), dataset.window(VALIDATION)
    plan = plans.plan(recommender, plans.question(recommender, 0), None, wide=True)
    built = contenders.build(recommender.train, dataset.features())
    trained = train(in_memory(*windows), recommender, built, plan, Study(None, ""))
    record = trained.search or {}  # a wide search always leaves one
    search = seconds_of_the_search(windows, recommender)
    once = seconds_of_a_training(trained.fit_rows, trained.setting, recommender)
    longest = recommender.train.als.factors
    plain = seconds_of_a_training(trained.fit_rows, trained.setting, recommender, longest)
    held_out = dataset.pairs(TEST)
    report = leaderboard.evaluate(
        trained.models, trained.fit_rows.matrix(), held_out, recommender.evaluate
    )
    population, shape = report["population"], dataset.shape
    print(
        f"\n{real.name}: {len(trained.fit_rows):,} fit rows, {shape[0]:,} users x {shape[1]:,} "
        f"items; {population['users']:,} users measured on {population['held_out']:,} held-out rows"
    )
    table(report)
    setting = {k: v for k, v in trained.setting.model_dump().items() if v is not None}
    print(
        f"  setting {setting}; {len(record['trials'])} trials took {search:.1f} s of the processor, "
        f"{search / plain:.1f} plain fits of 15 iterations with {longest} factors ({plain:.2f} s), "
        f"{search / once:.1f} with those chosen ({once:.2f} s)"
    )
    if grid:
        compare(dataset, windows, recommender, trained.models[ALS], record["chosen"]["recall"])
    print(json.dumps({"name": real.name, "models": report["models"], "setting": setting}))


def everyone(recommender: Recommender) -> Recommender:
    """Return the configuration with all contenders."""
    settings = recommender.train.model_copy(update={"contenders": Contender.__args__})
    return recommender.model_copy(update={"train": settings})


def table(report: dict[str, Any]) -> None:
    """Print the models, the best first."""
    for name, scores in sorted(report["models"].items(), key=lambda item: -item[1]["recall"]):
        low, high = scores["recall_ci"]
        print(
            f"  {name:20} {scores['recall']:.4f} [{low:.4f}, {high:.4f}]  "
            f"coverage {scores['coverage']:.3f}"
        )


def seconds_of_the_search(
    windows: tuple[Interactions, Interactions], recommender: Recommender
) -> float:
    """Return the processor's seconds of the wide search: of all threads, measurements included.

    A job with it, less one without; wall time would count what else runs here.
    """
    plan = plans.plan(recommender, plans.question(recommender, 0), None, wide=True)
    popularity = recommender.train.model_copy(update={"contenders": ("popularity",)})
    built = contenders.build(popularity, None)
    alone = dataclasses.replace(plan, mode=plans.NONE)
    seconds = []
    for one in (plan, alone):
        began = time.process_time()
        train(in_memory(*windows), recommender, built, one, Study(None, ""))
        seconds.append(time.process_time() - began)
    return seconds[0] - seconds[1]


def seconds_of_a_training(
    rows: Interactions, setting: config.Als, recommender: Recommender, factors: int | None = None
) -> float:
    """Return the processor's seconds of a plain fit of 15 iterations, implicit's default.

    One thread: OpenMP's threads spend time on waiting for one another, and a trial has one or two.
    """
    plain = setting.model_copy(update={"iterations": 15, "factors": factors or setting.factors})
    seconds = []
    for _ in range(3):
        began = time.process_time()
        Als(plain, recommender.train.seed, threads=1).fit(rows)
        seconds.append(time.process_time() - began)
    return float(np.median(seconds))


def compare(
    dataset: Dataset,
    windows: tuple[Interactions, Interactions],
    recommender: Recommender,
    tuned: Model,
    validation_recall: float,
) -> None:
    """Fit the grid on the training window and on all fit rows; print its best beside the search's."""
    points = grid_points(windows, recommender)
    point, best = max(points, key=lambda pair: pair[1])
    print(f"  hand grid of {len(points)}, the best of up to 20 iterations each: {point}")
    print(
        f"    on validation: search {validation_recall:.4f}, grid's best {best:.4f}: "
        f"{validation_recall / best - 1:+.1%}"
    )
    again = again_with_other_seeds(windows, recommender, point)
    print(
        f"    that point with seeds {', '.join(map(str, SEEDS))}: {np.mean(again):.4f} on validation, "
        f"{min(again):.4f} to {max(again):.4f}; the search against it "
        f"{validation_recall / float(np.mean(again)) - 1:+.1%}"
    )
    fit_rows = merge(*windows)
    population = metrics.population(fit_rows.matrix(), dataset.pairs(TEST), filter_seen=True)
    setting = recommender.train.als.model_copy(update=point)
    theirs = Als(setting, recommender.train.seed, threads=1).fit(fit_rows)
    k, settings = recommender.evaluate.k, recommender.evaluate
    mine, other = (
        metrics.per_user(model.recommend(population.users, k, fit_rows.matrix()).items, population)
        for model in (tuned, theirs)
    )
    gain = bootstrap.compare(
        mine["recall"], other["recall"], settings.bootstrap_samples, 0.95, settings.seed
    )
    print(
        f"    on test: search {mine['recall'].mean():.4f}, grid's choice {other['recall'].mean():.4f}: "
        f"{gain.relative or 0:+.1%}, paired interval [{gain.ci_low:+.4f}, {gain.ci_high:+.4f}]"
    )


def again_with_other_seeds(
    windows: tuple[Interactions, Interactions], recommender: Recommender, point: dict[str, Any]
) -> list[float]:
    """Return the validation recall of the grid's choice from other random starts.

    The best of hundreds of measurements is a lucky one; the same fit from another start was not chosen.
    """
    training, validation = windows
    seen = training.matrix()
    of = metrics.population(seen, validation.matrix(), filter_seen=True)
    setting = recommender.train.als.model_copy(update=point)
    found = []
    for seed in SEEDS:
        lists = (
            Als(setting, seed, 1).fit(training).recommend(of.users, recommender.evaluate.k, seen)
        )
        found.append(float(metrics.per_user(lists.items, of)["recall"].mean()))
    return found


def grid_points(
    windows: tuple[Interactions, Interactions], recommender: Recommender
) -> list[tuple[dict[str, Any], float]]:
    """Return every point, with the iterations that served it best, and its validation recall."""
    training, validation = windows
    seen = training.matrix()
    of = metrics.population(seen, validation.matrix(), filter_seen=True)
    k, found = recommender.evaluate.k, []

    def recall(model: Als) -> float:
        return float(
            metrics.per_user(model.recommend(of.users, k, seen).items, of)["recall"].mean()
        )

    grid: dict[str, tuple[Any, ...]] = LARGE if len(training) > 100_000 else GRID
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        start = recommender.train.als.model_copy(update={**point, "iterations": 20})
        model = Als(start, recommender.train.seed, threads=1)
        iterations, best = best_checkpoint(model, training, recall)
        found.append(({**point, "iterations": iterations}, best))
    return found


def best_checkpoint(
    model: Als, rows: Interactions, recall: Callable[[Als], float]
) -> tuple[int, float]:
    """Fit to the end from implicit's own start; return the best of the iterations looked at."""
    curve = {}

    def look(done: int) -> bool:
        if done in LOOKED_AT:
            curve[done] = recall(model)
        return True

    model.fit(rows, look)
    return max(curve.items(), key=lambda pair: pair[1])


if __name__ == "__main__":
    main()

"""Count how often the gate promotes ALS where it can have no advantage: items shuffled.

Every run takes a real data set and deals its items anew to its rows, over all windows at once: users keep
how much they took and when, items keep how often they are taken, and nothing says who takes what. The
pipeline then tunes, fits and measures as ever, and the gate judges by its default policy. 5 % of the runs
may promote by chance.

    PYTHONPATH=include python benchmarks/false_promotions.py DATASET CONFIG [RUNS] [FIRST_SEED]
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
from typing import Any

import numpy as np

from recommender import config
from recommender.config import Recommender
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.errors import EmptyDatasetError
from recommender.evaluation import leaderboard
from recommender.gate import Attempt, Decision, decide
from recommender.interactions import Interactions, from_columns
from recommender.training import contenders, plans
from recommender.training.study import Study
from recommender.training.train import in_memory, train

Windows = tuple[Interactions, Interactions, Interactions]
LEVEL = 0.05


def main() -> int:
    """Run and count; exit with 1 if the gate is fooled too often."""
    logging.disable()
    dataset, recommender = open_dataset(sys.argv[1]), few_contenders(config.load(sys.argv[2]))
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    windows = dataset.window(TRAIN), dataset.window(VALIDATION), dataset.window(TEST)
    promoted, refused = 0, {}
    for seed in range(first, first + runs):
        verdict = judged(windows, recommender, seed)
        if verdict.verdict == "promoted":
            promoted += 1
        else:
            rule = next(r.name for r in verdict.rules if not r.passed)
            refused[rule] = refused.get(rule, 0) + 1
        if (seed + 1) % 20 == 0:
            print(f"  {seed + 1 - first} runs, {promoted} promoted", flush=True)
    print(f"{promoted} of {runs} promoted ({promoted / runs:.1%}); refused first by: {refused}")
    return int(promoted > LEVEL * runs)


def few_contenders(recommender: Recommender) -> Recommender:
    """Return the configuration with the gate's baselines as its only contenders."""
    baselines = recommender.gate.baselines
    settings = recommender.train.model_copy(update={"contenders": baselines})
    return recommender.model_copy(update={"train": settings})


def judged(windows: Windows, recommender: Recommender, seed: int) -> Decision:
    """Train, measure and judge one shuffle."""
    training, validation, test = shuffled(windows, seed)
    settings = recommender.train.model_copy(update={"seed": seed})
    seeded = recommender.model_copy(update={"train": settings})
    built = contenders.build(settings, None)
    plan = plans.plan(seeded, plans.question(seeded, 0), None, wide=True)
    trained = train(in_memory(training, validation), seeded, built, plan, Study(None, ""))
    report: dict[str, Any] = leaderboard.evaluate(
        trained.models, trained.fit_rows.matrix(), test.matrix(), seeded.evaluate
    )
    report["lineage"] = {"candidate": {"sha256": "0" * 64}, "champion": None}
    attempt = Attempt(
        recommender=seeded.name,
        snapshot=dt.date(2026, 1, 1),
        run_key=f"shuffle-{seed}",
        k=seeded.evaluate.k,
        decided_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        allow_replace_newer=False,
    )
    return decide(report, seeded.gate, attempt, None)


def shuffled(windows: Windows, seed: int) -> Windows:
    """Deal the items of all rows anew; a pair that is dealt twice to a window is one row there."""
    generator = np.random.default_rng(seed)
    items = generator.permutation(np.concatenate([w.items for w in windows]))
    ends = np.cumsum([len(w) for w in windows])
    first, second, third = (
        from_columns(w.users, dealt, w.confidence, w.timestamp, w.shape)
        for w, dealt in zip(windows, np.split(items, ends[:-1]), strict=True)
    )
    if not len(third):
        message = "expected rows in the test window, found none"
        raise EmptyDatasetError(message)
    return first, second, third


if __name__ == "__main__":
    sys.exit(main())

"""Compare a training with plain implicit at equal quality: seconds, Recall@20 and peak memory.

The Complete Journey's newest snapshot, the recommender's own setting. Plain is
``AlternatingLeastSquares(...).fit`` as it comes: its default 15 iterations, one thread, on the same
weights; the processor's seconds. Ours is the same objective with the loss followed, as in a job: with as many iterations from
the same noise, and from singular vectors, stopped where the validation window was served best. The search
that found the iterations is not counted here (see ``leaderboard.py``). Each side in a process of its own.

    PYTHONPATH=include python benchmarks/train.py WORK_FOLDER AMAZON_FOLDER
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from real_data import prepare
from threadpoolctl import threadpool_limits
from warm_start import from_directions, recall_on, stopped_early

from recommender import config
from recommender.dataset import TRAIN, VALIDATION, open_dataset
from recommender.interactions import merge
from recommender.models import Als
from recommender.models.als.weighted import weighted

PLAIN_ITERATIONS, REPEATS = 15, 5


def main() -> None:
    """Run each side in a process of its own and print the ratio."""
    real = next(prepare(Path(sys.argv[1]), Path(sys.argv[2])))
    if len(sys.argv) > 3:
        print(json.dumps(side(real.uri, real.config, sys.argv[3], int(sys.argv[4]))))
        return
    dataset, recommender = open_dataset(real.uri), config.load(real.config)
    stopped = stopped_early(dataset, recommender).settings.iterations
    rows = [("plain", PLAIN_ITERATIONS), ("ours", PLAIN_ITERATIONS), ("directions", stopped)]
    found = []
    for name, iterations in rows:
        command = [sys.executable, __file__, *sys.argv[1:3], name, str(iterations)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} if name == "plain" else os.environ
        output = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout
        found.append(json.loads(output.splitlines()[-1]))
    print(f"{real.name}, {recommender.train.als}")
    for (name, iterations), f in zip(rows, found, strict=True):
        print(
            f"  {name:10} {iterations:3} iterations  {f['seconds']:6.2f} s  Recall@20 {f['recall']:.4f}"
            f"  peak {f['peak_mb']:.0f} MB   time against plain {f['seconds'] / found[0]['seconds']:.2f}"
        )


def side(uri: str, config_file: str, name: str, iterations: int) -> dict[str, float]:
    """Fit a few times and measure once."""
    logging.disable()
    dataset, recommender = open_dataset(uri), config.load(config_file)
    fit_rows = merge(dataset.window(TRAIN), dataset.window(VALIDATION))
    setting = recommender.train.als.model_copy(update={"iterations": iterations})
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        model = Als(setting, recommender.train.seed, threads=1, keep_losses=True)
        if name == "plain":
            fit_plain(model, weighted(fit_rows, setting))
        elif name == "directions":
            model.fit(fit_rows, start=from_directions(fit_rows, setting, model.seed))
        else:
            model.fit(fit_rows)
        seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    recall = recall_on(fit_rows, dataset, recommender)(model)
    return {"seconds": float(np.median(seconds)), "recall": recall, "peak_mb": peak}


def fit_plain(model: Als, weights: object) -> None:
    """Fit as implicit's manual says and hand the factors over."""
    from implicit.als import AlternatingLeastSquares

    setting = model.settings
    with threadpool_limits(1, user_api="blas"):
        engine = AlternatingLeastSquares(
            factors=setting.factors,
            alpha=setting.alpha,
            regularization=setting.regularization,
            iterations=setting.iterations,
            random_state=model.seed,
            num_threads=1,
        )
        engine.fit(weights, show_progress=False)
    model.user_factors, model.item_factors = engine.user_factors, engine.item_factors


if __name__ == "__main__":
    main()

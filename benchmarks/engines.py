"""Compare ALS engines: plain library calls beside ours, seconds and Recall@20, in one run.

Generated data of Gowalla's size (see ``taste.py``). All fit the same objective, where they can: alpha
10, regularization 10, unobserved 1, 16 iterations. Plain calls get the finished matrix; ours starts
from interactions. The repeats take turns, every second round backwards; seconds are their medians, and
a ratio is the median of the rounds' ratios, as each compares neighbours in time: a shared machine's
speed may change by half within a minute. irspack takes part if it is installed: it is no
dependency (docs/decisions/0023).

    PYTHONPATH=include python benchmarks/engines.py
    PYTHONPATH=include python benchmarks/engines.py --engines implicit spark --factors 64 --repeats 1
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import os
import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import taste
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recommender.evaluation import metrics
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.models.als import Factors
from recommender.objective import Als as Objective

USERS, ITEMS, ROWS, K = 30_000, 40_000, 1_000_000, 20
OBJECTIVE = Objective(alpha=10, regularization=10, iterations=16)
Fit = Callable[[csr_matrix, Objective], Factors]


def plain_implicit(pairs: csr_matrix, als: Objective) -> Factors:
    """Fit as implicit's manual says: BLAS has one thread."""
    with threadpool_limits(1, user_api="blas"):
        return careless_implicit(pairs, als)


def careless_implicit(pairs: csr_matrix, als: Objective) -> Factors:
    """Fit with BLAS as it comes, against implicit's warning."""
    from implicit.als import AlternatingLeastSquares

    library = AlternatingLeastSquares(
        factors=als.factors,
        alpha=als.alpha,
        regularization=als.regularization,
        iterations=als.iterations,
        random_state=42,
    )
    library.fit(pairs, show_progress=False)
    return Factors(library.user_factors, library.item_factors)


def ours(pairs: csr_matrix, als: Objective) -> Factors:
    """Fit as the pipeline does, from interactions."""
    times = np.zeros(pairs.nnz, dtype=np.int64)
    indptr = pairs.indptr.astype(np.int64)
    rows = Interactions(pairs.shape, indptr, pairs.indices, pairs.data, times)
    model = Als(als).fit(rows)
    return Factors(model.user_factors, model.item_factors)


def ours_with_losses(pairs: csr_matrix, als: Objective) -> Factors:
    """Fit as the pipeline's final fit does: with the loss of every iteration."""
    times = np.zeros(pairs.nnz, dtype=np.int64)
    indptr = pairs.indptr.astype(np.int64)
    rows = Interactions(pairs.shape, indptr, pairs.indices, pairs.data, times)
    model = Als(als, keep_losses=True).fit(rows)
    return Factors(model.user_factors, model.item_factors)


def plain_irspack(pairs: csr_matrix, als: Objective) -> Factors:
    """Fit irspack's conjugate gradients on exactly this objective: X is alpha * r - unobserved."""
    from irspack import IALSRecommender

    weights = pairs * np.float32(als.alpha) - pairs * np.float32(als.unobserved)
    model = IALSRecommender(
        weights,
        n_components=als.factors,
        alpha0=als.unobserved,
        reg=als.regularization,
        nu=als.frequency_exponent,
        loss_type="ORIGINAL",
    )
    model.start_learning()
    for _ in range(als.iterations):
        model.run_epoch()
    return Factors(model.get_user_embedding(), model.get_item_embedding())


def plain_spark(pairs: csr_matrix, als: Objective) -> Factors:
    """Fit pyspark.ml's ALS as its manual says, on local[*] with 2 GB; the objective's exponent is 1 here.

    The regularization is the constant one over the root of the mean rows of a user times those of an
    item. The time takes in the rows' way into a DataFrame and the factors' way back, not the JVM's start.
    """
    from pyspark.ml.recommendation import ALS

    session = _session()
    users, items = pairs.nonzero()
    rating = als.alpha / als.unobserved - 1  # pyspark adds 1
    ratings = session.createDataFrame(
        pd.DataFrame({"user": users, "item": items, "rating": rating})
    )
    penalty = als.regularization * np.sqrt(pairs.shape[0] * pairs.shape[1]) / pairs.nnz
    model = ALS(
        rank=als.factors,
        maxIter=als.iterations,
        regParam=float(penalty),
        alpha=1.0,
        implicitPrefs=True,
        seed=42,
    ).fit(ratings)
    found = []
    for frame, size in zip((model.userFactors, model.itemFactors), pairs.shape, strict=True):
        table = frame.toPandas()
        factors = np.zeros((size, als.factors), np.float32)
        factors[table["id"].to_numpy()] = np.stack(table["features"].to_list())
        found.append(factors)
    return Factors(*found)


@functools.cache
def _session() -> Any:  # noqa: ANN401 - pyspark's
    from recommender.engines import spark_session

    return _AT_EXIT.enter_context(spark_session.session("engines"))


_AT_EXIT = ExitStack()
ENGINES: dict[str, dict[str, Fit]] = {
    "implicit": {
        "implicit, plain": plain_implicit,
        "implicit, ours": ours,
        "implicit, ours, with losses": ours_with_losses,
    },
    "careless": {"implicit, BLAS threads as they come": careless_implicit},
    "spark": {"pyspark.ml, plain, exponent 1": plain_spark},
    "irspack": {"irspack 0.5.2, plain": plain_irspack},
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", nargs="+", type=int, default=[32, 64, 128, 256])
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=ENGINES,
        default=[name for name in ENGINES if name != "spark"],
    )
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    logging.disable()
    fit, held = taste.split(taste.generate(USERS, ITEMS, ROWS))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(
        f"{fit.nnz:,} rows to fit, {held.nnz:,} held out, {fit.shape[0]:,} users, {fit.shape[1]:,} items"
    )
    print(
        f"{OBJECTIVE}\n\n| engine | factors | seconds | against plain implicit | Recall@20 |\n|---|---|---|---|---|"
    )
    fits = {name: one for engine in asked.engines for name, one in ENGINES[engine].items()}
    with _AT_EXIT:
        for factors in asked.factors:
            als = OBJECTIVE.model_copy(update={"factors": factors})
            _compare(fits, fit, held, als, asked.repeats)


def _compare(
    fits: dict[str, Fit], fit: csr_matrix, held: csr_matrix, als: Objective, repeats: int
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    recall: dict[str, float] = {}
    if importlib.util.find_spec("irspack") is None:
        seconds = {name: times for name, times in seconds.items() if "irspack" not in name}
    if "pyspark.ml, plain, exponent 1" in seconds:
        _session()
    for number in range(repeats):
        for name in list(seconds)[:: -1 if number % 2 else 1]:
            began = time.perf_counter()
            factors = fits[name](fit, als)
            seconds[name].append(time.perf_counter() - began)
            recall.setdefault(name, _recall(factors, fit, held))
    plain = np.array(seconds.get("implicit, plain", np.nan))
    for name, times in seconds.items():
        ratio = np.median(np.array(times) / plain)
        print(
            f"| {name} | {als.factors} | {np.median(times):.2f} | {ratio:.2f} | {recall[name]:.4f} |",
            flush=True,
        )


def _recall(factors: Factors, fit: csr_matrix, held: csr_matrix) -> float:
    """Measure by the evaluator's own ranking and metric."""
    model = Als(OBJECTIVE)
    model.user_factors, model.item_factors = factors
    population = metrics.population(fit, held, filter_seen=True)
    lists = model.recommend(population.users, K, fit).items
    return float(metrics.per_user(lists, population)["recall"].mean())


if __name__ == "__main__":
    main()

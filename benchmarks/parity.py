"""Compare the engines implicit and spark where they cannot mean the same: quality, and whose lists.

    PYTHONPATH=include:. python benchmarks/parity.py --work FOLDER

On Complete Journey and one generated set: the regularization of each engine is chosen on the
validation window among a few, spark's "matched" one among them: implicit's over the root of the mean
rows a user times the mean rows an item, at which both penalties weigh the same on average. Then each is
fitted on training and validation, and measured on the test window. Both have equal alpha, factors and
iterations and no weighing by age. The overlap of implicit's lists with those of its own fit from another
seed says how much two fits of one objective share.

Beside each engine stands ``exact``: the same objective, exponent and all, minimised by the book, row by row
in float64, from a start of its own. What an engine differs from it is the engine's; what the two exact fits
differ by is the objective's.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import taste
from real_data import prepare
from scipy.sparse import csr_matrix

from recommender.columns import CONFIDENCE, ITEM, TIMESTAMP, USER
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.evaluation import beyond_accuracy, metrics
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.models.als import Factors
from recommender.models.als.engine import Run, StoredRows
from recommender.objective import Als as Objective

K = 20
CONSTANT, SCALED = (10.0, 30.0, 100.0, 300.0), (0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Data:
    """Hold three windows, (users, items) CSR of confidences each."""

    name: str
    train: csr_matrix
    validation: csr_matrix
    test: csr_matrix

    @property
    def fit(self) -> csr_matrix:
        """Return what is fitted in the end."""
        return self.train.maximum(self.validation).tocsr()


def datasets(work: Path) -> Iterator[Data]:
    """Yield the real set and the generated one."""
    journey = next(iter(prepare(work, work, months=1)))
    dataset = open_dataset(journey.uri)
    windows = (dataset.window(name).matrix() for name in (TRAIN, VALIDATION, TEST))
    yield Data(journey.name, *windows)
    rest, test = taste.split(taste.generate(6_000, 5_000, 240_000), 0.15)
    yield Data("generated", *taste.split(rest, 0.15, seed=2), test)


def implicit(rows: csr_matrix, als: Objective, seed: int = 42) -> Factors:
    """Fit as the pipeline does on one machine."""
    model = Als(als, seed).fit(_interactions(rows))
    return Factors(model.user_factors, model.item_factors)


def spark(session: Any, rows: csr_matrix, als: Objective) -> Factors:  # noqa: ANN401 - pyspark's
    """Fit as the pipeline does on a cluster, and read the shards."""
    from recommender.distributed.spark_als import FACTORS, INDEX, SparkEngine

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows" / "part.parquet"
        path.parent.mkdir()
        own = _interactions(rows)
        columns = {USER: own.users, ITEM: own.items.astype(np.int32)}
        columns |= {CONFIDENCE: own.confidence, TIMESTAMP: own.timestamp}
        pq.write_table(pa.table(columns), path)
        engine = SparkEngine(session, str(Path(name) / "out"))
        stored = engine.fit(StoredRows((str(path.parent),), rows.shape), als, Run(42)).factors
        found = []
        for uri, size in zip(stored, rows.shape, strict=True):
            table = pq.read_table(uri)
            factors = np.zeros((size, als.factors), np.float32)
            values = table.column(FACTORS).combine_chunks().flatten().to_numpy()
            factors[table.column(INDEX).to_numpy()] = values.reshape(-1, als.factors)
            found.append(factors)
    return Factors(*found)


def exact(rows: csr_matrix, als: Objective, seed: int = 7) -> Factors:
    """Alternate exact solutions of the objective of docs/engines.md, in float64.

    A row x with positives i solves (unobserved Y'Y + sum_i (alpha r_i - unobserved) y_i y_i' +
    regularization n^exponent I) x = sum_i alpha r_i y_i.
    """
    noise = np.random.default_rng(seed)
    users, items = (noise.normal(0, 0.1, (size, als.factors)) for size in rows.shape)
    sides = ((rows, users, items), (rows.T.tocsr(), items, users))
    for _ in range(als.iterations):
        for own, x, y in sides:
            shared = als.unobserved * (y.T @ y)
            for row in np.flatnonzero(np.diff(own.indptr)):
                span = slice(own.indptr[row], own.indptr[row + 1])
                near, weight = y[own.indices[span]], als.alpha * own.data[span].astype(np.float64)
                penalty = als.regularization * len(weight) ** als.frequency_exponent
                a = shared + near.T @ (near * (weight - als.unobserved)[:, None])
                a[np.diag_indices_from(a)] += penalty
                x[row] = np.linalg.solve(a, weight @ near)
            x[np.diff(own.indptr) == 0] = 0
    return Factors(users.astype(np.float32), items.astype(np.float32))


def _interactions(rows: csr_matrix) -> Interactions:
    times = np.zeros(rows.nnz, dtype=np.int64)
    return Interactions(rows.shape, rows.indptr, rows.indices, rows.data, times)


def measured(factors: Factors, fit: csr_matrix, held: csr_matrix) -> tuple[float, Any]:
    """Return Recall@20 and the lists, by the evaluator's own code."""
    model = Als(Objective())
    model.user_factors, model.item_factors = factors
    population = metrics.population(fit, held, filter_seen=True)
    lists = model.recommend(population.users, K, fit).items
    return float(metrics.per_user(lists, population)["recall"].mean()), lists


def matched(rows: csr_matrix, regularization: float) -> float:
    """Return the scaled penalty that weighs as much on average as the constant one."""
    users, items = (np.count_nonzero(np.diff(side.indptr)) for side in (rows, rows.tocsc()))
    return float(f"{regularization / np.sqrt(rows.nnz / users * rows.nnz / items):.3g}")


def compare(session: Any, data: Data, base: Objective) -> None:  # noqa: ANN401 - pyspark's
    """Print one data set's two tables."""
    n = f"{data.train.nnz:,} training rows, {data.train.shape[0]:,} users, {data.train.shape[1]:,} items"
    print(f"\n{data.name}: {n}; {base}\n")
    print(
        "| engine | exponent | regularization | Recall@20, validation | seconds |\n"
        + "|---" * 5
        + "|"
    )

    def swept(engine: str, settings: Sequence[Objective]) -> Objective:
        found = []
        for als in settings:
            began = time.perf_counter()
            fitted = (
                spark(session, data.train, als) if engine == "spark" else implicit(data.train, als)
            )
            took = time.perf_counter() - began
            recall, _ = measured(fitted, data.train, data.validation)
            found.append((recall, als))
            print(
                f"| {engine} | {als.frequency_exponent:g} | {als.regularization:g} "
                f"| {recall:.4f} | {took:.1f} |",
                flush=True,
            )
        return max(found, key=lambda pair: pair[0])[1]

    constant = swept("implicit", [base.model_copy(update={"regularization": r}) for r in CONSTANT])
    same = matched(data.train, constant.regularization)
    scaled = [{"regularization": r, "frequency_exponent": 1.0} for r in sorted({*SCALED, same})]
    tuned = swept("spark", [base.model_copy(update=change) for change in scaled])
    print(f"\nmatched regularization at exponent 1: {same:g}\n")
    fit = data.fit
    same_objective(session, data, fit, (constant, tuned))
    print("| fit | Recall@20, test | against implicit | of implicit's lists |\n" + "|---" * 4 + "|")
    first, lists = measured(implicit(fit, constant), fit, data.test)
    fits = {
        "implicit, chosen": lambda: implicit(fit, constant),
        "implicit, chosen, another seed": lambda: implicit(fit, constant, seed=7),
        "spark, chosen": lambda: spark(session, fit, tuned),
        "spark, matched": lambda: spark(
            session, fit, tuned.model_copy(update={"regularization": same})
        ),
    }
    for name, fitted in fits.items():
        recall, theirs = measured(fitted(), fit, data.test)
        shared = beyond_accuracy.overlap(lists, theirs)
        print(f"| {name} | {recall:.4f} | {recall / first - 1:+.1%} | {shared:.1%} |", flush=True)


def same_objective(
    session: Any,  # noqa: ANN401 - pyspark's
    data: Data,
    fit: csr_matrix,
    chosen: tuple[Objective, Objective],
) -> None:
    """Print each engine beside the exact solution of its own objective."""
    print("| engine | exponent | regularization | Recall@20, test | exact | against exact ", end="")
    print("| of exact's lists | two seeds of exact |\n" + "|---" * 8 + "|")
    for name, als in zip(("implicit", "spark"), chosen, strict=True):
        factors = implicit(fit, als) if name == "implicit" else spark(session, fit, als)
        recall, lists = measured(factors, fit, data.test)
        by_book, exact_lists = measured(exact(fit, als), fit, data.test)
        _, again = measured(exact(fit, als, seed=8), fit, data.test)
        shared, seeds = (beyond_accuracy.overlap(exact_lists, one) for one in (lists, again))
        print(
            f"| {name} | {als.frequency_exponent:g} | {als.regularization:g} | {recall:.4f} "
            f"| {by_book:.4f} | {recall / by_book - 1:+.1%} | {shared:.1%} | {seeds:.1%} |",
            flush=True,
        )
    print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="prepared data are kept here")
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=10)
    asked = parser.parse_args()
    logging.disable()
    from recommender.engines import spark_session

    base = Objective(alpha=20, factors=asked.factors, iterations=asked.iterations)
    found = list(datasets(asked.work))
    with spark_session.session("parity") as session:
        for data in found:
            compare(session, data, base)


if __name__ == "__main__":
    main()

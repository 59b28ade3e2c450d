"""Compare the engines implicit and spark where they cannot mean the same: quality, and whose lists.

    PYTHONPATH=include:. python benchmarks/parity.py --work FOLDER

On Complete Journey and one generated set: the regularization of each engine is chosen on the
validation window among a few, spark's "matched" one among them: implicit's over the root of the mean
rows a user times the mean rows an item, at which both penalties weigh the same on average. Then each is
fitted on training and validation, and measured on the test window. Both have equal alpha, factors and
iterations and no weighing by age. The overlap of implicit's lists with those of its own fit from another
seed says how much two fits of one objective share.
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
    print("| fit | Recall@20, test | against implicit | of implicit's lists |\n" + "|---" * 4 + "|")
    fit = data.fit
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

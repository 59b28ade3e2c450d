"""The metrics against Spark's RankingMetrics, whose definitions differ in two places."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.mllib.evaluation import RankingMetrics
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from recommender.evaluation import metrics

K, USERS, ITEMS = 5, 40, 30


def test_means_equal_sparks_ranking_metrics(spark: SparkSession) -> None:
    """Spark's MAP@K divides by min(K, |held out|) as ours does; trec_eval's does not."""
    generator = np.random.default_rng(11)
    held = [sorted(generator.permutation(ITEMS)[: generator.integers(1, 12)]) for _ in range(USERS)]
    lists = np.array([generator.permutation(ITEMS)[:K] for _ in range(USERS)], dtype=np.int32)
    matrix = np.zeros((USERS, ITEMS))
    for user, items in enumerate(held):
        matrix[user, items] = 1
    everyone = csr_matrix(np.ones((USERS, ITEMS)))
    population = metrics.population(everyone, csr_matrix(matrix), filter_seen=False)
    found = {name: v.mean() for name, v in metrics.per_user(lists, population).items()}
    rows = [
        ([int(i) for i in row], [int(i) for i in items])
        for row, items in zip(lists, held, strict=True)
    ]
    theirs = RankingMetrics(spark.sparkContext.parallelize(rows, 2))
    assert max(map(len, held)) > K
    assert found["recall"] == pytest.approx(theirs.recallAt(K))
    assert found["precision"] == pytest.approx(theirs.precisionAt(K))
    assert found["ndcg"] == pytest.approx(theirs.ndcgAt(K))
    assert found["map"] == pytest.approx(theirs.meanAveragePrecisionAt(K))

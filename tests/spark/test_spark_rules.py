"""Pair rules are those of Spark MLlib's FPGrowth with one antecedent, number by number."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml.fpm import FPGrowth
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from recommender.models.rules import mine

SUPPORT, CONFIDENCE = 0.05, 0.2


def test_pair_rules_equal_fpgrowths(spark: SparkSession) -> None:
    generator = np.random.default_rng(8)
    taken = generator.random((150, 20)) < generator.random(20) * 0.4
    taken[:3] = False  # users of nothing, whom Spark never sees
    baskets = [(np.flatnonzero(row).tolist(),) for row in taken if row.any()]
    frame = spark.createDataFrame(baskets, ["items"]).coalesce(2)
    fitted = FPGrowth(minSupport=SUPPORT, minConfidence=CONFIDENCE, numPartitions=2).fit(frame)
    theirs = {
        (row.antecedent[0], row.consequent[0]): (row.support, row.confidence, row.lift)
        for row in fitted.associationRules.collect()
        if len(row.antecedent) == 1
    }
    found = mine(csr_matrix(taken), SUPPORT, CONFIDENCE)
    ours = {
        (int(a), int(c)): (s, confidence, lift)
        for a, c, s, confidence, lift in zip(*found, strict=True)
    }
    assert len(ours) > 50
    assert ours.keys() == theirs.keys()
    for pair, numbers in theirs.items():
        assert ours[pair] == pytest.approx(numbers, rel=1e-12)

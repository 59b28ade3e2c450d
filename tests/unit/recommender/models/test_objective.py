"""One objective for all engines: translated exactly, folded in exactly, refused where it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recommender import config, folding
from recommender.errors import ConfigError
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.models.als.weighted import weighted
from recommender.objective import IMPLICIT, SPARK, refusals
from recommender.objective import Als as Objective

PLAIN = "name: shop\ndescription: A shop.\ndataset: shop\n"
OBJECTIVE = Objective(
    factors=5, alpha=12, regularization=3, iterations=4, half_life_days=40, user_balance=0.3
)
DAY = 86_400


def rows(users: int = 40, items: int = 25, seed: int = 1) -> Interactions:
    """Draw interactions of unequal confidence and age; some users are heavier than others."""
    generator = np.random.default_rng(seed)
    share = generator.uniform(0.1, 0.6, (users, 1))
    has = generator.random((users, items)) < share
    matrix = csr_matrix(has)
    n = matrix.nnz
    return Interactions(
        (users, items),
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        generator.choice([1.0, 2.0], n).astype(np.float32),
        generator.integers(0, 100 * DAY, n).astype(np.int64),
    )


def loss(users: np.ndarray, items: np.ndarray, data: Interactions, als: Objective) -> float:
    """Compute the objective as its docstring states it, pair by pair."""
    weight = als.alpha * weighted(data, als).toarray().astype(np.float64)
    scores = users @ items.T
    observed = weight > 0
    error = np.where(observed, weight * (1 - scores) ** 2, als.unobserved * scores**2).sum()
    counts = observed.sum(axis=1), observed.sum(axis=0)
    penalty = sum(
        (n**als.frequency_exponent * (factors**2).sum(axis=1)).sum()
        for n, factors in zip(counts, (users, items), strict=True)
    )
    return float(error + als.regularization * penalty)


def fold(data: Interactions, items: np.ndarray, als: Objective) -> np.ndarray:
    weights = (als.alpha * weighted(data, als).data).astype(np.float32)
    shared = folding.gram(items, als)
    return folding.fold_in(data.indptr, data.items, weights, items, shared, als)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("unobserved", [1.0, 0.2])
def test_no_other_user_factors_lower_the_stated_objective(
    exponent: float, unobserved: float
) -> None:
    als = OBJECTIVE.model_copy(
        update={"frequency_exponent": exponent, "unobserved": unobserved, "regularization": 0.7}
    )
    data = rows()
    generator = np.random.default_rng(2)
    items = generator.normal(0, 0.5, (data.shape[1], als.factors)).astype(np.float32)
    found = fold(data, items, als).astype(np.float64)
    best = loss(found, items, data, als)
    for size in (1e-2, 1e-3):
        for _ in range(20):
            other = found + size * generator.normal(size=found.shape)
            assert loss(other, items, data, als) > best


def test_implicit_ends_where_the_stated_objective_is_stationary() -> None:
    """After many iterations a further half-step, computed here, moves the users no more."""
    als = OBJECTIVE.model_copy(update={"iterations": 300, "unobserved": 0.5, "alpha": 6})
    data = rows()
    model = Als(als, seed=3, threads=1).fit(data)
    step = fold(data, model.item_factors, als)
    np.testing.assert_allclose(model.user_factors, step, atol=2e-3)
    assert np.abs(step).max() > 0.3


def test_only_the_ratio_of_the_weights_counts_for_implicit() -> None:
    doubled = {name: 2 * getattr(OBJECTIVE, name) for name in ("alpha", "regularization")}
    twice = OBJECTIVE.model_copy(update={"unobserved": 2.0, **doubled})
    data = rows()
    one, other = (Als(als, seed=3, threads=1).fit(data) for als in (OBJECTIVE, twice))
    np.testing.assert_array_equal(one.item_factors, other.item_factors)


@pytest.mark.parametrize(
    ("section", "text", "named"),
    [
        (
            "als",
            "{frequency_exponent: 1}",
            "als.frequency_exponent: engine implicit has 0 only, fou",
        ),
        ("als", "{frequency_exponent: 0.5}", "found 0.5; set it to that and search regularization"),
        ("distributed", "{}", "distributed.frequency_exponent: engine spark has 1 only, found 0"),
        ("distributed", "{frequency_exponent: 1, alpha: 1}", "alpha: engine spark expects more"),
        (
            "distributed",
            "{frequency_exponent: 1, half_life_days: 30}",
            "half_life_days: engine spa",
        ),
        ("distributed", "{frequency_exponent: 1, user_balance: 0.2}", "user_balance: engine spark"),
        ("distributed", "{frequency_exponent: 1, warm_iterations: 2}", "unknown key"),
        ("als", "{unobserved: 0}", "als.unobserved"),
    ],
)
def test_what_an_engine_cannot_minimise_is_refused_when_the_configuration_is_read(
    section: str, text: str, named: str, tmp_path: Path
) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(PLAIN)
    with pytest.raises(ConfigError, match=named):
        config.load(str(file), [f"train.{section}={text}"])


def test_each_engine_takes_the_default_of_its_section() -> None:
    train = config.Train()
    assert refusals(IMPLICIT, train.als) == []
    assert refusals(SPARK, train.distributed) == []
    assert refusals(SPARK, train.als) != []


def test_several_refusals_are_told_at_once() -> None:
    wrong = Objective(half_life_days=30, user_balance=0.1)
    assert len(refusals(SPARK, wrong)) == 3

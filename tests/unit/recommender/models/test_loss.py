"""The loss is the objective summed over every pair, and close to it where it is sampled."""

from __future__ import annotations

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from recommender.models.als import Factors, loss
from recommender.models.als.loss import Loss
from recommender.objective import Als

USERS, ITEMS = 60, 40


def rows(seed: int) -> csr_matrix:
    generator = np.random.default_rng(seed)
    dense = generator.random((USERS, ITEMS)) * (generator.random((USERS, ITEMS)) < 0.2)
    return csr_matrix(dense.astype(np.float32))


def factors(seed: int) -> Factors:
    generator = np.random.default_rng(seed)
    return Factors(
        *(0.3 * generator.standard_normal((n, 6), dtype=np.float32) for n in (USERS, ITEMS))
    )


def by_hand(weights: csr_matrix, als: Als, of: Factors) -> float:
    """Sum the objective's definition over all pairs."""
    r, scores = weights.toarray().astype(np.float64), of.users.astype(float) @ of.items.T
    fit = np.where(r > 0, als.alpha * r * (1 - scores) ** 2, als.unobserved * scores**2).sum()
    sides = ((of.users, (r > 0).sum(axis=1)), (of.items, (r > 0).sum(axis=0)))
    norms = sum((n**als.frequency_exponent * (x**2).sum(axis=1)).sum() for x, n in sides)
    return float((fit + als.regularization * norms) / r.size)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_it_is_the_objective_summed_over_every_pair(exponent: float) -> None:
    als = Als(factors=6, alpha=7, unobserved=0.5, regularization=3, frequency_exponent=exponent)
    found = Loss(rows(1), als, seed=1)(factors(2))
    assert found == pytest.approx(by_hand(rows(1), als, factors(2)), rel=1e-5)


def test_it_is_implicits_up_to_the_divisor() -> None:
    als, weights = Als(factors=6, alpha=7, regularization=3, iterations=1), rows(1)
    theirs: list[float] = []
    library = AlternatingLeastSquares(
        factors=6, alpha=7, regularization=3, iterations=1, calculate_training_loss=True
    )
    library.fit(weights, False, lambda _i, _s, value: theirs.append(value))
    ours = Loss(weights, als, seed=1)(Factors(library.user_factors, library.item_factors))
    weight_of_all_pairs = 7 * weights.sum() + USERS * ITEMS - weights.nnz
    assert ours * USERS * ITEMS == pytest.approx(theirs[0] * weight_of_all_pairs, rel=1e-4)


def test_a_sample_is_unbiased_and_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    als, weights, of = Als(factors=6, alpha=7, regularization=3), rows(1), factors(2)
    exact = Loss(weights, als, seed=0)(of)
    monkeypatch.setattr(loss, "_SAMPLED", 6 * weights.nnz // 4)
    sampled = [Loss(weights, als, seed)(of) for seed in range(200)]
    assert len(set(sampled)) > 100
    assert np.mean(sampled) == pytest.approx(exact, rel=0.01)
    one = Loss(weights, als, seed=3)
    assert one(of) == one(of) == sampled[3]

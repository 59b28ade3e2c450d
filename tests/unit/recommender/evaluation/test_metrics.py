"""Metrics are checked by hand and against trec_eval, ranx and implicit's evaluator.

Spark's RankingMetrics, the fourth, is in ``tests/spark/test_spark_ranking_metrics.py``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from implicit.evaluation import ranking_metrics_at_k
from ranx import Qrels, Run, evaluate
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recommender import ranking
from recommender.evaluation import metrics
from recommender.ranking import top_k

K = 5


def measure(recommended: list[list[int]], held_out: list[list[int]]) -> dict[str, np.ndarray]:
    matrix = np.zeros((len(held_out), 50))
    for user, items in enumerate(held_out):
        matrix[user, items] = 1
    fit = csr_matrix(np.ones(matrix.shape))  # nobody and nothing is cold
    population = metrics.population(fit, csr_matrix(matrix), filter_seen=False)
    return metrics.per_user(np.array(recommended, dtype=np.int32), population)


def test_each_metric_by_hand() -> None:
    # Hits at ranks 2 and 4 of a list of 5; three items held out.
    found = measure([[9, 1, 8, 2, 7]], [[1, 2, 3]])
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["recall"][0] == pytest.approx(2 / 3)
    assert found["precision"][0] == pytest.approx(2 / 5)
    assert found["hit_rate"][0] == 1
    assert found["mrr"][0] == pytest.approx(1 / 2)
    assert found["ndcg"][0] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert found["map"][0] == pytest.approx((1 / 2 + 2 / 4) / 3)


def test_a_full_list_of_hits_is_perfect_but_for_recall() -> None:
    found = measure([[0, 1, 2, 3, 4]], [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
    assert found["recall"][0] == pytest.approx(0.5)
    assert found["ndcg"][0] == pytest.approx(1)
    assert found["map"][0] == pytest.approx(1)


def test_padding_is_never_a_hit() -> None:
    found = measure([[-1, -1, -1, -1, -1]], [[0, 49]])
    assert all(values[0] == 0 for values in found.values())


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    users = draw(st.integers(1, 5))
    lists = [draw(st.permutations(range(12)))[:K] for _ in range(users)]
    held = [draw(st.sets(st.integers(0, 11), min_size=1)) for _ in range(users)]
    return lists, [sorted(items) for items in held]


@given(cases())
def test_all_but_map_equal_trec_eval(case: tuple[list[list[int]], list[list[int]]]) -> None:
    expected = trec_eval(*case)
    found = measure(*case)
    np.testing.assert_allclose(found["precision"], expected[f"P_{K}"], rtol=1e-12)
    # recip_rank has no cut, but no list here is longer than K.
    np.testing.assert_allclose(found["mrr"], expected["recip_rank"], rtol=1e-12)
    np.testing.assert_allclose(found["recall"], expected[f"recall_{K}"], rtol=1e-12)
    np.testing.assert_allclose(found["ndcg"], expected[f"ndcg_cut_{K}"], rtol=1e-12)
    np.testing.assert_allclose(found["hit_rate"], expected[f"success_{K}"], rtol=1e-12)


@given(cases())
def test_map_differs_from_trec_eval_only_by_its_denominator(
    case: tuple[list[list[int]], list[list[int]]],
) -> None:
    """trec_eval divides by |held out|, which a list of k cannot reach when more is held out."""
    sizes = np.array([len(items) for items in case[1]])
    expected = trec_eval(*case)[f"map_cut_{K}"] * sizes / np.minimum(sizes, K)
    np.testing.assert_allclose(measure(*case)["map"], expected, rtol=1e-12)


@given(cases())
def test_every_metric_stays_between_none_and_all(
    case: tuple[list[list[int]], list[list[int]]],
) -> None:
    for values in measure(*case).values():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()


def trec_eval(lists: list[list[int]], held: list[list[int]]) -> dict[str, np.ndarray]:
    relevant = {str(u): {str(i): 1 for i in items} for u, items in enumerate(held)}
    run = {
        str(u): {str(item): float(K - rank) for rank, item in enumerate(items)}
        for u, items in enumerate(lists)
    }
    names = {f"recall.{K}", f"ndcg_cut.{K}", f"map_cut.{K}", f"success.{K}", f"P.{K}", "recip_rank"}
    rows = pytrec_eval.RelevanceEvaluator(relevant, names).evaluate(run)
    ordered = [rows[str(u)] for u in range(len(lists))]
    return {name: np.array([row[name] for row in ordered]) for name in ordered[0]}


@given(cases())
@settings(max_examples=25)
def test_all_but_map_equal_ranx(case: tuple[list[list[int]], list[list[int]]]) -> None:
    found, theirs = measure(*case), ranx_metrics(*case)
    names = {"recall": "recall", "precision": "precision", "ndcg": "ndcg", "mrr": "mrr"}
    for ours, name in {**names, "hit_rate": "hit_rate"}.items():
        np.testing.assert_allclose(found[ours], theirs[f"{name}@{K}"], rtol=1e-9, err_msg=ours)


@given(cases())
@settings(max_examples=25)
def test_map_differs_from_ranx_as_from_trec_eval(
    case: tuple[list[list[int]], list[list[int]]],
) -> None:
    sizes = np.array([len(items) for items in case[1]])
    expected = ranx_metrics(*case)[f"map@{K}"] * sizes / np.minimum(sizes, K)
    np.testing.assert_allclose(measure(*case)["map"], expected, rtol=1e-9)


def ranx_metrics(lists: list[list[int]], held: list[list[int]]) -> dict[str, np.ndarray]:
    relevant = {str(u): {str(i): 1 for i in items} for u, items in enumerate(held)}
    run = {
        str(u): {str(item): float(K - rank) for rank, item in enumerate(items)}
        for u, items in enumerate(lists)
    }
    names = [f"{name}@{K}" for name in ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")]
    scores = Run(run)
    evaluate(Qrels(relevant), scores, names)
    return {
        name: np.array([scores.scores[name][str(u)] for u in range(len(lists))]) for name in names
    }


@pytest.fixture(scope="module")
def implicit_case() -> tuple[AlternatingLeastSquares, csr_matrix, csr_matrix]:
    generator = np.random.default_rng(5)
    fit = csr_matrix((generator.random((80, 60)) < 0.1).astype(np.float32))
    held = csr_matrix((generator.random((80, 60)) < 0.15).astype(np.float32))
    held = held - held.multiply(fit)
    held.eliminate_zeros()
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(factors=8, random_state=1, num_threads=1)
        model.fit(fit, show_progress=False)
    return model, fit, held


def test_ndcg_and_map_equal_implicits_evaluator(
    implicit_case: tuple[AlternatingLeastSquares, csr_matrix, csr_matrix],
) -> None:
    """implicit averages over every user with a held-out item, cold ones included: none is here."""
    model, fit, held = implicit_case
    theirs = ranking_metrics_at_k(model, fit, held, K=K, show_progress=False)
    found, _ = measure_implicit(model, fit, held)
    assert found["ndcg"].mean() == pytest.approx(theirs["ndcg"], rel=1e-6)
    assert found["map"].mean() == pytest.approx(theirs["map"], rel=1e-6)


def test_implicits_precision_is_hits_over_what_could_be_hit(
    implicit_case: tuple[AlternatingLeastSquares, csr_matrix, csr_matrix],
) -> None:
    """Ours is the mean over users of hits / K: the same hits, another denominator."""
    model, fit, held = implicit_case
    theirs = ranking_metrics_at_k(model, fit, held, K=K, show_progress=False)
    found, sizes = measure_implicit(model, fit, held)
    hits = found["precision"] * K
    assert (sizes < K).any()
    assert (sizes > K).any()
    assert theirs["precision"] == pytest.approx(hits.sum() / np.minimum(sizes, K).sum())
    assert theirs["precision"] > found["precision"].mean()


def measure_implicit(
    model: AlternatingLeastSquares, fit: csr_matrix, held: csr_matrix
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    population = metrics.population(fit, held, filter_seen=True)
    assert population.counts["pairs_of_cold_users"] == population.counts["pairs_of_cold_items"] == 0
    scores = np.asarray(model.user_factors @ model.item_factors.T)
    lists = top_k(lambda users: scores[users].copy(), population.users, K, fit.shape[1], fit).items
    return metrics.per_user(lists, population), population.sizes


def test_hits_are_found_alike_in_any_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(9)
    held = csr_matrix(generator.random((50, 30)) < 0.2)
    lists = np.array([generator.permutation(30)[:7] for _ in range(50)], dtype=np.int32)
    whole = metrics.hits(lists, held)
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 7 * 64 * 3)
    np.testing.assert_array_equal(metrics.hits(lists, held), whole)
    assert whole.any()


# User 0 gets a new item; 1 is cold; 2 only repeats; 3 only takes the cold item 2; 4 repeats and
# takes a new item.
FIT = csr_matrix([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]])
HELD = csr_matrix([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]])


def test_population_counts_only_new_items_that_the_model_knows() -> None:
    population = metrics.population(FIT, HELD, filter_seen=True)
    assert population.users.tolist() == [0, 4]
    assert population.held_out.toarray().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert population.counts == {
        "users": 2,
        "held_out": 2,
        "test_users": 5,
        "test_pairs": 6,
        "pairs_of_cold_users": 1,
        "pairs_of_cold_items": 1,
        "pairs_already_had": 2,
        "users_without_new_items": 2,
        "catalogue": 3,
    }


def test_without_the_filter_repeats_count_as_held_out() -> None:
    population = metrics.population(FIT, HELD, filter_seen=False)
    assert population.users.tolist() == [0, 2, 4]
    assert population.counts["pairs_already_had"] == 0


def test_population_may_be_empty() -> None:
    nothing = csr_matrix((5, 4))
    assert metrics.population(nothing, HELD, filter_seen=True).counts["users"] == 0
    assert metrics.population(FIT, nothing, filter_seen=True).counts["held_out"] == 0


def test_every_pair_of_the_window_is_accounted_for() -> None:
    generator = np.random.default_rng(3)
    fit = csr_matrix(generator.random((60, 40)) < 0.05)
    held = csr_matrix(generator.random((60, 40)) < 0.1)
    counts = metrics.population(fit, held, filter_seen=True).counts
    left_out = ("pairs_of_cold_users", "pairs_of_cold_items", "pairs_already_had")
    assert counts["held_out"] + sum(counts[name] for name in left_out) == counts["test_pairs"]
    assert min(counts[name] for name in left_out) > 0

"""Metrics are checked by hand and against trec_eval."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recommender import metrics

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
    assert found["hit_rate"][0] == 1
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
def test_recall_and_ndcg_equal_trec_eval(case: tuple[list[list[int]], list[list[int]]]) -> None:
    expected = trec_eval(*case)
    found = measure(*case)
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
    names = {f"recall.{K}", f"ndcg_cut.{K}", f"map_cut.{K}", f"success.{K}"}
    rows = pytrec_eval.RelevanceEvaluator(relevant, names).evaluate(run)
    ordered = [rows[str(u)] for u in range(len(lists))]
    return {name: np.array([row[name] for row in ordered]) for name in ordered[0]}


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


def test_coverage_counts_distinct_items_and_no_padding() -> None:
    assert metrics.coverage(np.array([[1, 2], [2, -1]], dtype=np.int32), 8) == 2 / 8

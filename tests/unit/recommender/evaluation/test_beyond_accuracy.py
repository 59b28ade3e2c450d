"""Metrics of lists as such: by hand, and against counting with sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.evaluation import beyond_accuracy

POPULARITY = np.array([8, 4, 1, 0])


def lists(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.int32)


def test_coverage_counts_distinct_items_and_no_padding() -> None:
    assert beyond_accuracy.coverage(lists([1, 2], [2, -1]), 8) == 2 / 8


def test_novelty_is_the_mean_of_bits_and_an_unseen_item_has_those_of_one_user() -> None:
    found = beyond_accuracy.novelty(lists([0, 1], [2, 3], [0, -1], [-1, -1]), POPULARITY, 8)
    assert found.tolist() == [0.5, 3, 0, 0]


def test_popularity_bias_compares_lists_with_histories() -> None:
    # Lists of mean popularity 6 and 1, histories of 2 and 5: 3.5 against 3.5.
    found = beyond_accuracy.popularity_bias(
        lists([0, 1], [2, -1]), np.array([2.0, 5.0]), POPULARITY
    )
    assert found == pytest.approx(0)
    twice = beyond_accuracy.popularity_bias(lists([0, 0]), np.array([4.0]), POPULARITY)
    assert twice == pytest.approx(1)


def test_more_popular_lists_are_less_novel_and_more_biased() -> None:
    popular, rare = lists([0, 1]), lists([1, 2])
    histories = np.array([4.0])
    assert (
        beyond_accuracy.novelty(popular, POPULARITY, 8)
        < beyond_accuracy.novelty(rare, POPULARITY, 8)
    ).all()
    assert beyond_accuracy.popularity_bias(
        popular, histories, POPULARITY
    ) > beyond_accuracy.popularity_bias(rare, histories, POPULARITY)


@st.composite
def padded(draw: st.DrawFn) -> list[int]:
    items = draw(st.permutations(range(9)))[: draw(st.integers(0, 5))]
    return [*items, *[-1] * (5 - len(items))]


@given(st.lists(st.tuples(padded(), padded()), min_size=1, max_size=6))
def test_overlap_counts_as_sets_do(pairs: list[tuple[list[int], list[int]]]) -> None:
    shares = [len(set(a) & set(b) - {-1}) / len(set(a) - {-1}) for a, b in pairs if set(a) != {-1}]
    expected = sum(shares) / len(shares) if shares else 0.0
    found = beyond_accuracy.overlap(lists(*(a for a, _ in pairs)), lists(*(b for _, b in pairs)))
    assert math.isclose(found, expected, rel_tol=1e-12)

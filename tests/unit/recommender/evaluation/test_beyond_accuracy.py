"""Metrics of lists as such: by hand, against counting with sets, and against RecTools and Recommenders.

What those two say of seeded cases is kept in ``other_libraries.json``, which ``other_libraries.py`` makes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.evaluation import beyond_accuracy

POPULARITY = np.array([8, 4, 1, 0])
CASES = json.loads(Path(__file__).with_name("other_libraries.json").read_text())["cases"]


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


def popularity_of(case: dict[str, Any]) -> np.ndarray:
    taken = [item for history in case["histories"] for item in history]
    return np.bincount(taken, minlength=case["items"])


def padded_lists(case: dict[str, Any]) -> np.ndarray:
    return lists(*([*one, *[-1] * (5 - len(one))] for one in case["lists"]))


@pytest.mark.parametrize("case", CASES)
def test_coverage_equals_rectools_and_recommenders(case: dict[str, Any]) -> None:
    catalogue = int(np.count_nonzero(popularity_of(case)))
    found = beyond_accuracy.coverage(padded_lists(case), catalogue)
    assert 0 < found < 1
    assert found == pytest.approx(case["rectools"]["coverage"], rel=1e-12)
    assert found == pytest.approx(case["recommenders"]["coverage"], rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_novelty_of_each_user_equals_rectools(case: dict[str, Any]) -> None:
    users = len(case["histories"])
    found = beyond_accuracy.novelty(padded_lists(case), popularity_of(case), users)
    np.testing.assert_allclose(found, case["rectools"]["novelty"], rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_novelty_of_recommenders_counts_rows_for_users_and_recommendations_for_lists(
    case: dict[str, Any],
) -> None:
    """Its probability is of a row, ours of a user; its mean is over items, ours over users."""
    popularity, users = popularity_of(case), len(case["histories"])
    lengths = [len(one) for one in case["lists"]]
    found = beyond_accuracy.novelty(padded_lists(case), popularity, users)
    theirs = np.average(found, weights=lengths) + math.log2(popularity.sum() / users)
    assert theirs == pytest.approx(case["recommenders"]["novelty"], rel=1e-12)
    assert found.mean() != pytest.approx(case["recommenders"]["novelty"], rel=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_popularity_bias_is_that_of_rectools_average_popularities(case: dict[str, Any]) -> None:
    popularity, theirs = popularity_of(case), case["rectools"]
    given = padded_lists(case)
    np.testing.assert_allclose(
        beyond_accuracy.list_popularity(given, popularity), theirs["list_popularity"], rtol=1e-12
    )
    before = np.array(theirs["history_popularity"])
    expected = np.mean(theirs["list_popularity"]) / before.mean() - 1
    assert beyond_accuracy.popularity_bias(given, before, popularity) == pytest.approx(expected)

"""Ranking is compared with a sort that is too slow to use and too simple to be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from recommender import ranking


def sorted_by_hand(scores: np.ndarray, k: int, seen: csr_matrix | None) -> list[list[int]]:
    lists = []
    for user, row in enumerate(scores):
        had = set() if seen is None else set(seen[user].indices.tolist())
        ranked = sorted((-s, item) for item, s in enumerate(row.tolist()) if item not in had)
        lists.append([item for _, item in ranked[:k]])
    return lists


def as_lists(result: ranking.Recommendations) -> list[list[int]]:
    return [[int(item) for item in row if item >= 0] for row in result.items]


def everyone(matrix: np.ndarray) -> np.ndarray:
    return np.arange(len(matrix), dtype=np.int32)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, int, csr_matrix]:
    users, items = draw(st.integers(1, 6)), draw(st.integers(1, 60))
    levels = draw(st.sampled_from([1, 2, 5, 1000]))  # few levels: ties everywhere
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = generator.integers(-levels, levels + 1, (users, items)).astype(np.float32)
    seen = csr_matrix(generator.random((users, items)) < draw(st.sampled_from([0, 0.3, 0.9, 1])))
    return scores, draw(st.integers(1, 25)), seen


@given(rankings())
def test_lists_equal_a_full_sort_with_ties_by_index(
    case: tuple[np.ndarray, int, csr_matrix],
) -> None:
    scores, k, seen = case
    result = ranking.top_k(lambda u: scores[u], everyone(scores), k, scores.shape[1], seen)
    assert as_lists(result) == sorted_by_hand(scores, k, seen)


@given(rankings())
def test_shared_scores_rank_as_the_general_path_does(
    case: tuple[np.ndarray, int, csr_matrix],
) -> None:
    scores, k, seen = case
    users, shared = everyone(scores), scores[0]
    general = ranking.top_k(lambda u: np.tile(shared, (len(u), 1)), users, k, scores.shape[1], seen)
    fast = ranking.top_k_shared(shared, users, k, seen)
    np.testing.assert_array_equal(general.items, fast.items)
    np.testing.assert_array_equal(general.scores, fast.scores)


@pytest.mark.parametrize("items", [511, 512, 1000, 5003], ids=lambda n: f"{n} items")
@pytest.mark.parametrize("levels", [3, 10**6], ids=["ties across the cut", "few ties"])
def test_large_catalogues_are_exact_as_well(items: int, levels: int) -> None:
    """Take the path that bounds the k-th best by the maxima of groups of columns."""
    generator = np.random.default_rng(1)
    scores = generator.integers(0, levels, (40, items)).astype(np.float32)
    seen = csr_matrix(random_array((40, items), density=0.4, rng=generator))
    result = ranking.top_k(lambda u: scores[u], everyone(scores), 20, items, seen)
    assert as_lists(result) == sorted_by_hand(scores, 20, seen)


def test_a_user_who_has_all_but_one_item_gets_that_one_and_padding() -> None:
    scores = np.zeros((1, 4), dtype=np.float32)
    seen = csr_matrix([[1, 1, 0, 1]])
    result = ranking.top_k(lambda u: scores[u], everyone(scores), 3, 4, seen)
    assert result.items.tolist() == [[2, -1, -1]]
    assert result.scores.tolist() == [[0.0, -np.inf, -np.inf]]


def test_a_seen_item_with_an_explicit_zero_is_still_seen() -> None:
    """Decay can round a confidence to 0; the user has the item nevertheless."""
    scores = np.array([[3, 2, 1]], dtype=np.float32)
    seen = csr_matrix((np.zeros(1, dtype=np.float32), ([0], [0])), shape=(1, 3))
    result = ranking.top_k(lambda u: scores[u], everyone(scores), 1, 3, seen)
    assert result.items.tolist() == [[1]]


def test_threads_and_block_size_do_not_change_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(2).random((500, 300), dtype=np.float32)
    users = everyone(scores)[::-1].copy()
    one = ranking.top_k(lambda u: scores[u], users, 10, 300, threads=1)
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 4 * 300 * 7)
    many = ranking.top_k(lambda u: scores[u], users, 10, 300, threads=3)
    np.testing.assert_array_equal(one.items, many.items)


def test_an_error_while_scoring_is_raised_and_not_padded() -> None:
    def score(users: np.ndarray) -> np.ndarray:
        message = "no factors"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="no factors"):
        ranking.top_k(score, np.zeros(1, dtype=np.int32), 1, 1, threads=2)

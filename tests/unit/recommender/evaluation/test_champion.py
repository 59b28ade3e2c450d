"""A champion is scored again in a newer dataset's indices, by id."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from recommender import config
from recommender.artifact import Candidate
from recommender.evaluation.champion import Champion
from recommender.models import Als, Popularity

# The champion's user c and item z are gone; the dataset's user d and item w are new.
CHAMPION_USERS, CHAMPION_ITEMS = ["a", "b", "c"], ["p", "q", "r", "z"]
DATASET_USERS, DATASET_ITEMS = ["a", "b", "d"], ["r", "p", "w", "q"]
A, B, D = 0, 1, 2
R, P, W, Q = 0, 1, 2, 3


@pytest.fixture
def champion() -> Champion:
    als = Als(config.Als(factors=1), threads=1)
    als.user_factors = np.array([[1], [-1], [5]], dtype=np.float32)
    als.item_factors = np.array([[1], [2], [3], [9]], dtype=np.float32)
    popularity = Popularity()
    popularity.counts = np.array([5, 7, 1, 9])
    version = Candidate(
        models={"als": als, "popularity": popularity},
        users=pa.array(CHAMPION_USERS),
        items=pa.array(CHAMPION_ITEMS),
        about={},
    )
    return Champion(version, pa.array(DATASET_USERS), pa.array(DATASET_ITEMS))


def users(*indices: int) -> np.ndarray:
    return np.array(indices, dtype=np.int32)


def test_known_users_get_known_items_in_the_champions_order(champion: Champion) -> None:
    items, scores = champion.recommend(users(A, B), 3)
    assert items.tolist() == [[R, Q, P], [P, Q, R]]
    assert scores.tolist() == [[3, 2, 1], [-1, -2, -3]]


def test_a_user_unknown_to_it_gets_its_popular_items(champion: Champion) -> None:
    items, _ = champion.recommend(users(D, A), 3)
    assert items.tolist() == [[Q, P, R], [R, Q, P]]


def test_items_unknown_to_it_or_gone_are_never_listed(champion: Champion) -> None:
    items, scores = champion.recommend(users(A, D), 4)
    assert (items[:, 3] == -1).all()
    assert np.isneginf(scores[:, 3]).all()
    assert W not in items


def test_what_users_have_in_the_dataset_is_left_out(champion: Champion) -> None:
    seen = csr_matrix(([1, 1, 1], ([A, D, D], [R, Q, W])), shape=(3, 4))
    items, _ = champion.recommend(users(A, D), 2, seen)
    assert items.tolist() == [[Q, P], [P, R]]


def test_ties_break_by_the_datasets_index() -> None:
    popularity = Popularity()
    popularity.counts = np.array([1, 1, 1, 1])
    version = Candidate(
        models={"als": popularity, "popularity": popularity},
        users=pa.array(CHAMPION_USERS),
        items=pa.array(CHAMPION_ITEMS),
        about={},
    )
    champion = Champion(version, pa.array(DATASET_USERS), pa.array(DATASET_ITEMS))
    assert champion.recommend(users(A), 3).items.tolist() == [[R, P, Q]]

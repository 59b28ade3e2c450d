"""What is special to each contender: its neighbours, its rules, its terms, and who runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from recommender import config
from recommender.errors import ConfigError, ManifestError
from recommender.evaluation import metrics
from recommender.interactions import Interactions, from_columns
from recommender.models import AssociationRules, Content, DecayedPopularity, ItemItem, content
from recommender.models.rules import mine
from recommender.training import contenders

Window = Callable[[str], Interactions]


def rows(pairs: list[tuple[int, int]], shape: tuple[int, int], *days: float) -> Interactions:
    users, items = np.array(pairs, dtype=np.int32).T
    seconds = np.array(days or [0] * len(pairs)) * 86_400
    ones = np.ones(len(pairs), dtype=np.float32)
    return from_columns(users, items, ones, seconds.astype(np.int64), shape)


def test_decayed_popularity_halves_a_user_for_every_half_life() -> None:
    data = rows([(0, 0), (1, 0), (2, 1), (3, 2)], (4, 3), 0, 10, 20, 10)
    assert DecayedPopularity(10).fit(data).scores.tolist() == [0.75, 1.0, 0.5]


def test_cosine_neighbours_are_those_of_the_formula(window: Window) -> None:
    data = window("train")
    model = ItemItem("cosine", neighbours=80, threads=1).fit(data)
    matrix = data.matrix().toarray().astype(np.float64)
    lengths = np.linalg.norm(matrix, axis=0)
    expected = matrix.T @ matrix / np.outer(lengths, lengths)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(model.similarity.toarray(), expected, rtol=1e-6)
    scores = matrix @ expected
    np.testing.assert_allclose(
        model.recommend(np.arange(9, dtype=np.int32), 5).scores,
        -np.sort(-scores[:9], axis=1)[:, :5],
        rtol=1e-5,
    )


@pytest.mark.parametrize("weighting", ["cosine", "bm25"])
def test_the_number_of_threads_changes_no_bit(weighting: str, window: Window) -> None:
    data = window("train")
    one, four = (ItemItem(weighting, 10, threads).fit(data) for threads in (1, 4))
    users = np.arange(data.shape[0], dtype=np.int32)
    for mine_, theirs in zip(one.recommend(users, 9), four.recommend(users, 9), strict=True):
        np.testing.assert_array_equal(mine_, theirs)


def test_only_the_nearest_are_kept(window: Window) -> None:
    model = ItemItem("cosine", neighbours=3, threads=1).fit(window("train"))
    assert np.diff(model.similarity.indptr).max() == 3
    assert not model.similarity.diagonal().any()


def test_what_no_neighbour_leads_to_follows_by_popularity() -> None:
    # Items 0 and 1 are taken together; item 3 by two users, item 2 by one, item 4 by nobody.
    data = rows([(0, 0), (0, 1), (1, 0), (2, 3), (3, 3), (3, 2)], (4, 5))
    model = ItemItem("cosine", neighbours=2, threads=1).fit(data)
    shown = model.recommend(np.array([1], dtype=np.int32), 4, data.matrix()).items
    assert shown.tolist() == [[1, 3, 2, 4]]


def test_rules_by_hand() -> None:
    # Of 4 users with anything, 3 have item 0, 2 item 1, both of these 0 as well, 1 item 2.
    history = csr_matrix([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    found = mine(history, min_support=0.5, min_confidence=0.7)
    assert (found.antecedent.tolist(), found.consequent.tolist()) == ([1], [0])
    assert (found.support[0], found.confidence[0]) == (0.5, 1.0)
    assert found.lift[0] == pytest.approx(4 / 3)
    assert len(mine(history, 0.5, 0.6).lift) == 2
    assert len(mine(history, 0.9, 0.0).lift) == 0


def test_rules_are_the_same_in_any_number_of_blocks(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = window("train").matrix()
    whole = mine(history, 0.02, 0.1)
    monkeypatch.setattr("recommender.models.rules._BLOCK_PAIRS", 300)
    for one, other in zip(whole, mine(history, 0.02, 0.1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(whole.lift) > 50


def test_a_rule_that_says_less_than_popularity_is_not_followed() -> None:
    # Everyone has item 0, so no rule to it has a lift above 1.
    history = rows([(0, 0), (0, 1), (1, 0), (2, 0), (2, 2)], (3, 3))
    model = AssociationRules(min_support=0.1, min_confidence=0.1, threads=1).fit(history)
    assert model.similarity.nnz == 0


def test_tfidf_equals_scikit_learns() -> None:
    generator = np.random.default_rng(4)
    documents = [[f"t{t}" for t in generator.integers(0, 30, n)] for n in (0, 1, 5, 9, 40)]
    vectorizer = TfidfVectorizer(analyzer=lambda document: document)
    expected = vectorizer.fit_transform(documents)
    assert list(vectorizer.get_feature_names_out()) == sorted({t for d in documents for t in d})
    np.testing.assert_allclose(content.tfidf(documents).toarray(), expected.toarray(), rtol=1e-12)


METADATA = pa.table(
    {
        "item_id": ["c", "a", "x", "b"],
        "title": ["Red guitar strings", "Guitar strings", "Drum", None],
        "category": ["Music > Strings", "Music > Strings", "Music > Drums", None],
        "brand": ["Ernie", "Ernie", None, None],
        "price": [1.0, None, 2.0, 3.0],
    }
)


def test_features_are_aligned_with_the_items_and_empty_where_nothing_is_known() -> None:
    found = content.features(METADATA, pa.array(["a", "b", "c", "unknown"]))
    assert found.shape[0] == 4
    assert np.diff(found.indptr).tolist() == [5, 0, 6, 0]
    closeness = (found @ found.T).toarray()
    assert 0.5 < closeness[0, 2] < 1


def test_a_new_item_is_reached_by_its_content_alone() -> None:
    items = pa.array(["a", "c", "x"])
    data = rows([(0, 0), (1, 2)], (2, 3))  # item c has no interaction
    model = Content(content.features(METADATA, items), neighbours=2, threads=1).fit(data)
    shown = model.recommend(np.array([0], dtype=np.int32), 1, data.matrix()).items
    assert shown.tolist() == [[1]]


def test_the_configuration_says_who_runs(caplog: pytest.LogCaptureFixture) -> None:
    settings = config.Train(contenders=("popularity", "content", "item_bm25"))
    with caplog.at_level(logging.WARNING, "recommender"):
        built = contenders.build(settings, None)
    assert list(built.models) == ["popularity", "item_bm25"]
    assert "items_metadata" in built.left_out["content"]
    assert "content is left out" in caplog.text
    with_metadata = contenders.build(settings, csr_matrix((2, 1)))
    assert list(with_metadata.for_new_items) == ["content"]
    assert list(with_metadata.for_new_users) == ["popularity"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("train: {contenders: [item_bm25]}", "popularity among them"),
        ("train: {contenders: [popularity]}", "popularity_recent"),
        ("train: {contenders: [popularity, popularity_recent, oracle]}", "oracle"),
    ],
)
def test_contenders_that_cannot_be_judged_are_refused(
    lines: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"name: c\ndescription: c\ndataset: c\n{lines}\n")
    with pytest.raises(ConfigError, match=words):
        config.load(str(path))


def test_a_torn_similarity_is_refused(window: Window, tmp_path: Path) -> None:
    ItemItem("cosine", 5, 1).fit(window("train")).save(tmp_path)
    np.save(tmp_path / "similarity_indptr.npy", np.zeros(3, dtype=np.int64))
    with pytest.raises(ManifestError, match="similarity of shape"):
        ItemItem.load(tmp_path)


def test_lists_of_neighbours_hold_new_items_only(window: Window) -> None:
    data = window("train")
    shown = AssociationRules(0.02, threads=1).fit(data)
    lists = shown.recommend(np.arange(data.shape[0], dtype=np.int32), 7, data.matrix()).items
    assert not metrics.hits(lists, data.matrix()).any()

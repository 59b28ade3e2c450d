"""Contracts that every model keeps, then what is special to each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recommender import models
from recommender.config import Als as Settings
from recommender.errors import BadDataError, ManifestError
from recommender.evaluation import metrics
from recommender.interactions import Interactions, merge
from recommender.models import (
    Als,
    AssociationRules,
    Content,
    DecayedPopularity,
    ItemItem,
    Model,
    Popularity,
    content,
)
from recommender.models.als.weighted import weighted

Window = Callable[[str], Interactions]
SETTINGS = Settings(factors=8, alpha=20, regularization=5, iterations=6, half_life_days=60)
# Items of a group (see conftest) share a word.
FEATURES = content.tfidf([[f"group{item % 4}", f"word{item % 7}"] for item in range(80)])
MODELS: dict[str, Callable[[], Model]] = {
    "als": lambda: Als(SETTINGS, seed=3, threads=1),
    "popularity": Popularity,
    "popularity_recent": lambda: Popularity(recent_days=20),
    "popularity_decayed": lambda: DecayedPopularity(half_life_days=20),
    "item_cosine": lambda: ItemItem("cosine", neighbours=10, threads=1),
    "item_bm25": lambda: ItemItem("bm25", neighbours=10, threads=1),
    "association_rules": lambda: AssociationRules(min_support=0.02, neighbours=10, threads=1),
    "content": lambda: Content(FEATURES, neighbours=10, threads=1),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def lists(model: Model, data: Interactions) -> tuple[np.ndarray, np.ndarray]:
    users = np.arange(data.shape[0], dtype=np.int32)
    return model.recommend(users, 5, data.matrix())


@every_model
def test_same_seed_same_result(make: Callable[[], Model], window: Window) -> None:
    data = window("train")
    first, second = lists(make().fit(data), data), lists(make().fit(data), data)
    np.testing.assert_array_equal(first, second)


@every_model
def test_a_second_fit_forgets_the_first(make: Callable[[], Model], window: Window) -> None:
    data = window("train")
    twice = make().fit(window("test")).fit(data)
    np.testing.assert_array_equal(lists(twice, data), lists(make().fit(data), data))


@every_model
def test_save_and_load_change_no_bit(
    make: Callable[[], Model], window: Window, tmp_path: Path
) -> None:
    data = window("train")
    model = make().fit(data)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(lists(models.load(tmp_path / "model"), data), lists(model, data))


@every_model
def test_nothing_on_disk_needs_pickle(
    make: Callable[[], Model], window: Window, tmp_path: Path
) -> None:
    make().fit(window("train")).save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy", ".json"}
    for path in tmp_path.glob("*.npy"):
        np.load(path, allow_pickle=False)


@every_model
def test_seen_items_are_left_out(make: Callable[[], Model], window: Window) -> None:
    data = window("train")
    items, _ = lists(make().fit(data), data)
    assert not metrics.hits(items, data.matrix()).any()


@every_model
def test_reindexing_renames_users_and_items_and_nothing_else(
    make: Callable[[], Model], window: Window
) -> None:
    data = window("train")
    model = make().fit(data)
    users, items = (np.arange(n, dtype=np.int32)[::-1].copy() for n in data.shape)
    turned = model.reindex(users, items)
    every = data.shape[1]
    listed, scores = model.recommend(users[:5], every)
    turned_listed, turned_scores = turned.recommend(np.arange(5, dtype=np.int32), every)
    for user in range(5):  # by item: ties break by an index, and those have changed
        before = dict(zip(listed[user].tolist(), scores[user].tolist(), strict=True))
        renamed = items[turned_listed[user]].tolist()
        after = dict(zip(renamed, turned_scores[user].tolist(), strict=True))
        assert after == pytest.approx(before, rel=1e-5, abs=1e-6)


def test_an_unknown_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"model": "oracle"}')
    with pytest.raises(ManifestError, match="found 'oracle'"):
        models.load(tmp_path)


def test_stopping_at_an_iteration_equals_a_fit_of_that_length(window: Window) -> None:
    data = window("train")
    stopped = Als(SETTINGS, 3, 1).fit(data, lambda done: done < 4)
    short = Als(SETTINGS.model_copy(update={"iterations": 4}), 3, 1).fit(data)
    np.testing.assert_array_equal(stopped.user_factors, short.user_factors)
    np.testing.assert_array_equal(stopped.item_factors, short.item_factors)


def test_the_number_of_threads_changes_no_bit(window: Window) -> None:
    data = window("train")
    one, four = (Als(SETTINGS, 3, threads).fit(data) for threads in (1, 4))
    np.testing.assert_array_equal(one.item_factors, four.item_factors)
    np.testing.assert_array_equal(lists(one, data), lists(four, data))


def test_factors_are_float32_rows_in_memory_order(window: Window) -> None:
    model = Als(SETTINGS, 3, 1).fit(window("train"))
    for array in (model.user_factors, model.item_factors):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous


def test_a_half_life_weighs_an_old_row_half(window: Window) -> None:
    """Halving the confidence of rows one half life old by hand gives the same factors."""
    data = window("train")
    aged = Interactions(
        data.shape,
        data.indptr,
        data.items,
        data.confidence,
        np.where(data.timestamp > data.newest // 2, data.newest, data.newest - 60 * 86_400),
    )
    old = aged.timestamp < data.newest
    by_hand = Interactions(
        data.shape,
        data.indptr,
        data.items,
        np.where(old, data.confidence / 2, data.confidence).astype(np.float32),
        data.timestamp,
    )
    flat = SETTINGS.model_copy(update={"half_life_days": None})
    decayed, halved = Als(SETTINGS, 3, 1).fit(aged), Als(flat, 3, 1).fit(by_hand)
    assert 0 < old.sum() < len(old)
    np.testing.assert_array_equal(decayed.item_factors, halved.item_factors)


@pytest.mark.parametrize("name", [n for n in MODELS if not n.startswith("popularity")])
def test_groups_that_popularity_cannot_see_are_found(name: str, window: Window) -> None:
    assert recall(MODELS[name](), window) > 1.5 * recall(Popularity(), window)


def test_one_factor_at_alpha_one_loses_to_popularity(clique_window: Window) -> None:
    """At alpha 1 implicit gives positives no weight, and one factor sees the clique alone."""
    weak = Settings(factors=1, alpha=1, regularization=5, iterations=8)
    assert recall(Als(weak, 3, 1), clique_window) < 0.7 * recall(Popularity(), clique_window)


def recall(model: Model, window: Window) -> float:
    fit_rows = merge(window("train"), window("validation"))
    seen = fit_rows.matrix()
    population = metrics.population(seen, window("test").matrix(), filter_seen=True)
    items = model.fit(fit_rows).recommend(population.users, 5, seen).items
    return float(metrics.per_user(items, population)["recall"].mean())


def test_recent_popularity_counts_only_the_last_days(window: Window) -> None:
    data = window("train")
    recent = Popularity(recent_days=20).fit(data)
    young = data.timestamp > data.newest - 20 * 86_400
    expected = np.bincount(data.items[young], minlength=data.shape[1])
    assert 0 < expected.sum() < len(data)
    np.testing.assert_array_equal(recent.counts, expected)


def test_weights_that_overflow_are_an_error_and_no_model(window: Window) -> None:
    wild = SETTINGS.model_copy(update={"alpha": 1e38, "regularization": 0.0})
    with pytest.raises(BadDataError, match=r"train\.als\.alpha"):
        Als(wild, 3, 1).fit(window("train"))


def test_a_user_with_more_rows_weighs_less_a_row_but_more_in_all() -> None:
    light, heavy = 4, 64
    data = Interactions(
        (2, heavy),
        np.array([0, light, light + heavy]),
        np.r_[0:light, 0:heavy].astype(np.int32),
        np.ones(light + heavy, dtype=np.float32),
        np.zeros(light + heavy, dtype=np.int64),
    )
    settings = SETTINGS.model_copy(update={"user_balance": 0.3})
    totals = weighted(data, settings).sum(axis=1).ravel().tolist()[0]
    assert totals[1] / heavy < totals[0] / light
    assert totals[1] / totals[0] == pytest.approx((heavy / light) ** 0.7)

"""What a reader gets is what the evaluator ranked, and folds in as implicit does."""

from __future__ import annotations

import model_store as made
import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from model_store import ITEMS, NAME, USERS, Store
from scipy.sparse import csr_matrix

from recommender import Interaction, load_version
from recommender.errors import ManifestError, NotFoundError
from recommender.interactions import SECONDS_PER_DAY
from recommender.models.als.weighted import weighted
from recommender.serving import ServedModel


@pytest.fixture
def model(store: Store) -> ServedModel:
    return load_version(store.models, NAME, "first")


def names(indices: np.ndarray) -> tuple[str, ...]:
    return tuple(f"i{index:03d}" for index in indices if index >= 0)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_lists_are_those_of_the_evaluator(model: ServedModel, exclude_seen: bool) -> None:
    seen = made.rows().matrix() if exclude_seen else None
    expected = made.als().recommend(np.arange(USERS, dtype=np.int32), 7, seen)
    users = [f"u{index:03d}" for index in range(USERS)]
    found = model.recommend(users, 7, exclude_seen=exclude_seen)
    assert [ranked.of for ranked in found] == users
    for user, ranked in enumerate(found):
        assert ranked.items == names(expected.items[user])
        assert ranked.scores == tuple(expected.scores[user][expected.items[user] >= 0].tolist())
        assert (ranked.source, ranked.version) == ("personal", "first")


def test_one_user_asked_alone_gets_the_same_list(model: ServedModel) -> None:
    together = model.recommend([f"u{index:03d}" for index in range(USERS)])
    for ranked in together:
        alone = model.recommend([ranked.of])[0]
        assert alone.items == ranked.items
        assert alone.scores == pytest.approx(ranked.scores, abs=1e-6)


def test_a_list_ends_where_there_is_no_more(model: ServedModel) -> None:
    seen = model.seen("u003")
    ranked = model.recommend(["u003"], ITEMS + 5)[0]
    assert len(ranked.items) == ITEMS - len(seen)
    assert not set(ranked.items) & set(seen)


def test_unknown_users_get_the_popular_items_and_say_so(model: ServedModel) -> None:
    counts = np.bincount(made.rows().items, minlength=ITEMS)
    by_count = sorted(range(ITEMS), key=lambda item: (-counts[item], item))
    known, unknown = model.recommend(["u001", "nobody"], 5)
    assert (known.source, unknown.source) == ("personal", "popular")
    assert unknown.items == names(np.array(by_count[:5]))
    assert unknown.scores == tuple(float(counts[item]) for item in by_count[:5])
    assert unknown.items == model.popular(5).items


def test_excluded_items_are_in_no_list(model: ServedModel) -> None:
    exclude = [*model.popular(3).items, "no such item"]
    one = [Interaction("i002"), Interaction("i004")]
    lists = [
        *model.recommend(["u001", "nobody"], ITEMS, exclude=exclude),
        model.recommend_from(one, ITEMS, exclude=exclude),
        model.similar(["i000"], ITEMS, exclude=exclude)[0],
        model.popular(ITEMS, exclude=exclude),
    ]
    assert len(lists) == 5
    for ranked in lists:
        assert len(ranked.items) > 10
        assert not set(ranked.items) & set(exclude)
    assert len(lists[-1].items) == ITEMS - 3


def test_folding_in_gives_what_implicit_recalculates() -> None:
    """Every user of the fit, on its own rows: half life, confidence and balance included."""
    from recommender import folding

    fitted, model = made.rows(), made.als()
    settings = made.SETTINGS
    engine = AlternatingLeastSquares(
        factors=settings.factors,
        alpha=settings.alpha,
        regularization=settings.regularization,
        num_threads=1,
    )
    engine.user_factors, engine.item_factors = model.user_factors, model.item_factors
    weights: csr_matrix = weighted(fitted, settings)
    expected = engine.recalculate_user(np.arange(USERS), weights)
    shared = folding.gram(model.item_factors, settings)
    data = (settings.alpha * weights.data).astype(np.float32)
    found = folding.fold_in(fitted.indptr, fitted.items, data, model.item_factors, shared, settings)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)
    assert np.abs(expected).max() > 0.1


def test_a_user_given_by_its_fit_rows_gets_the_list_of_its_folded_factors(
    model: ServedModel,
) -> None:
    """The reader weighs what it is told as the fit weighed it: from ids, without the dataset."""
    fitted, trained = made.rows(), made.als()
    engine = AlternatingLeastSquares(
        factors=8, alpha=made.SETTINGS.alpha, regularization=made.SETTINGS.regularization
    )
    engine.user_factors, engine.item_factors = trained.user_factors, trained.item_factors
    weights: csr_matrix = weighted(fitted, made.SETTINGS)
    for user in (0, 7, 31):
        own = slice(fitted.indptr[user], fitted.indptr[user + 1])
        given = [
            Interaction(f"i{item:03d}", float(confidence), int(time))
            for item, confidence, time in zip(
                fitted.items[own], fitted.confidence[own], fitted.timestamp[own], strict=True
            )
        ]
        factors = engine.recalculate_user(np.array([user]), weights[user])
        scores = (factors @ trained.item_factors.T)[0]
        scores[fitted.items[own]] = -np.inf
        expected = np.lexsort((-scores,))[:6]
        ranked = model.recommend_from(given, 6)
        assert ranked.items == names(expected)
        assert ranked.scores == pytest.approx(scores[expected].tolist(), rel=1e-4)
        assert (ranked.source, ranked.of) == ("folded_in", "")


def test_older_interactions_say_less(model: ServedModel) -> None:
    now = 90 * SECONDS_PER_DAY
    strong = [Interaction("i000", timestamp=now), Interaction("i001", timestamp=now)]
    faded = [Interaction("i000", timestamp=now), Interaction("i001", timestamp=0)]
    odd = [f"i{item:03d}" for item in range(1, ITEMS, 2)]  # the half that i001 belongs to

    def share(given: list[Interaction]) -> float:
        ranked = model.recommend_from(given, ITEMS, as_of=now)
        return sum(s for i, s in zip(ranked.items, ranked.scores, strict=True) if i in odd)

    assert share(faded) < share(strong)


def test_of_equal_interactions_the_strongest_and_latest_counts(model: ServedModel) -> None:
    twice = [Interaction("i002", 1.0, 500), Interaction("i002", 2.0, 100), Interaction("i008")]
    once = [Interaction("i002", 2.0, 500), Interaction("i008")]
    assert model.recommend_from(twice, 5) == model.recommend_from(once, 5)


def test_interactions_that_say_nothing_give_the_popular_items(model: ServedModel) -> None:
    ranked = model.recommend_from([Interaction("no such item")], 5)
    assert ranked.source == "popular"
    assert ranked.items == model.popular(5).items


def test_similar_items_are_those_of_implicit(model: ServedModel) -> None:
    trained = made.als()
    engine = AlternatingLeastSquares(factors=8)
    engine.user_factors, engine.item_factors = trained.user_factors, trained.item_factors
    found = model.similar(["i005", "i012"], 6)
    for item, ranked in zip((5, 12), found, strict=True):
        expected, scores = engine.similar_items(item, 7)
        assert expected[0] == item  # implicit lists the item itself first
        assert ranked.items == names(expected[1:])
        assert ranked.scores == pytest.approx(scores[1:].tolist(), rel=1e-4)


def test_an_unknown_item_is_named(model: ServedModel) -> None:
    with pytest.raises(NotFoundError, match=r"version first knows, found i999"):
        model.similar(["i001", "i999"])


def test_one_id_in_place_of_a_list_is_refused(model: ServedModel) -> None:
    with pytest.raises(TypeError, match=r"expected a list of ids, found the text 'u001'"):
        model.recommend("u001")


def test_a_length_below_one_is_refused(model: ServedModel) -> None:
    with pytest.raises(ValueError, match=r"k: expected 1 or more, found 0"):
        model.recommend(["u001"], 0)


def test_a_version_from_before_histories_were_kept_says_what_to_do(store: Store) -> None:
    store.publish("old", keep_history=False)
    old = load_version(store.models, NAME, "old")
    with pytest.raises(ManifestError, match=r"Pass exclude_seen=False"):
        old.recommend(["u001"])
    assert len(old.recommend(["u001"], 5, exclude_seen=False)[0].items) == 5

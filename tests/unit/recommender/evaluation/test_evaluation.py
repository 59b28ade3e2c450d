"""Every model is measured on the same users and laid out for people."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy.sparse import csr_matrix

from recommender.config import Evaluate
from recommender.errors import EmptyDatasetError
from recommender.evaluation import leaderboard
from recommender.interactions import Interactions
from recommender.models import Popularity
from recommender.ranking import Recommendations, Users

SETTINGS = Evaluate(k=5, bootstrap_samples=100)


class Spy:
    """Recommend by popularity and remember for whom and with which filter."""

    def __init__(self, model: Popularity) -> None:
        self.model = model
        self.asked: list[tuple[list[int], int, bool]] = []

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        self.asked.append((users.tolist(), k, seen is not None))
        return self.model.recommend(users, k, seen)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_all_models_face_the_same_users_k_and_filter(
    filter_seen: bool, window: Callable[[str], Interactions]
) -> None:
    fit = window("train")
    spies = {name: Spy(Popularity().fit(fit)) for name in ("als", "popularity", "champion")}
    settings = SETTINGS.model_copy(update={"filter_seen": filter_seen})
    report = leaderboard.evaluate(spies, fit.matrix(), window("test").matrix(), settings)
    asked = [spy.asked for spy in spies.values()]
    assert asked[0] == asked[1] == asked[2]
    assert [(k, filtered) for _, k, filtered in asked[0]] == [(5, filter_seen)]
    assert len(asked[0][0][0]) == report["population"]["users"]


def test_intervals_hold_the_mean_and_equal_models_differ_by_nothing(
    window: Callable[[str], Interactions],
) -> None:
    fit = window("train")
    models = {"als": Popularity().fit(fit), "popularity": Popularity().fit(fit)}
    report = leaderboard.evaluate(models, fit.matrix(), window("test").matrix(), SETTINGS)
    low, high = report["models"]["als"]["recall_ci"]
    assert low < report["models"]["als"]["recall"] < high
    (entry,) = report["comparisons"]
    assert (entry["candidate"], entry["baseline"], entry["metric"]) == (
        "als",
        "popularity",
        "recall",
    )
    assert [entry[key] for key in ("difference", "relative", "ci_low", "ci_high")] == [0, 0, 0, 0]


def test_nobody_to_measure_is_an_error_with_the_counts() -> None:
    with pytest.raises(EmptyDatasetError, match="'pairs_already_had': 1"):
        leaderboard.evaluate({}, csr_matrix([[1, 0]]), csr_matrix([[1, 0]]), SETTINGS)


def test_the_table_is_aligned(window: Callable[[str], Interactions]) -> None:
    fit = window("train")
    names = ("als", "popularity", "popularity_recent")
    models = {name: Popularity().fit(fit) for name in names}
    report = leaderboard.evaluate(models, fit.matrix(), window("test").matrix(), SETTINGS)
    _, header, *rows = leaderboard.table(report)
    assert {row.index("[") for row in rows} == {header.index("[")}
    assert {len(row.split("  ")[0].strip()) for row in rows} == {len(name) for name in names}

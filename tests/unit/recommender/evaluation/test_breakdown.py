"""Cohorts, head and tail, curves, newcomers and samples agree with slow counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from recommender.config import Evaluate
from recommender.evaluation import breakdown, cold_start, leaderboard, metrics, samples
from recommender.interactions import Interactions, from_columns, merge
from recommender.models import Popularity

Window = Callable[[str], Interactions]
SETTINGS = Evaluate(k=6, bootstrap_samples=100)


@pytest.fixture
def fit(window: Window) -> Interactions:
    return merge(window("train"), window("validation"))


@pytest.fixture
def report(fit: Interactions, window: Window) -> dict[str, Any]:
    models = {
        "popularity": Popularity().fit(fit),
        "als": Popularity(recent_days=20).fit(fit),
        "champion": Popularity().fit(fit),
    }
    return leaderboard.evaluate(models, fit.matrix(), window("test").matrix(), SETTINGS)


def test_every_length_of_the_curve_is_the_metric_of_shorter_lists(
    report: dict[str, Any], fit: Interactions, window: Window
) -> None:
    assert report["curves"]["k"] == [1, 2, 5, 6]
    model = Popularity().fit(fit)
    for place, k in enumerate(report["curves"]["k"]):
        shorter = SETTINGS.model_copy(update={"k": k})
        found = leaderboard.evaluate(
            {"als": model}, fit.matrix(), window("test").matrix(), shorter
        )["models"]["als"]
        for metric in ("recall", "ndcg"):
            assert report["curves"][metric]["popularity"][place] == pytest.approx(found[metric])


def test_cohorts_part_the_population_and_their_recalls_make_up_the_whole(
    report: dict[str, Any],
) -> None:
    cohorts = report["cohorts"]
    assert list(cohorts) == ["light", "medium", "heavy"]
    assert sum(c["users"] for c in cohorts.values()) == report["population"]["users"]
    ends = [end for c in cohorts.values() for end in c["rows"]]
    assert ends == sorted(ends)
    assert cohorts["light"]["rows"][1] < cohorts["medium"]["rows"][0]
    for name, scores in report["models"].items():
        whole = sum(c["users"] * c["recall"][name] for c in cohorts.values())
        assert whole / report["population"]["users"] == pytest.approx(scores["recall"])


def test_a_cohort_of_nobody_is_left_out() -> None:
    fit = csr_matrix(np.eye(4) + np.eye(4, k=1) + np.eye(4, k=-3))
    held = csr_matrix(1.0 - (fit.toarray() > 0))
    population = metrics.population(fit, held, filter_seen=True)
    found = breakdown.cohorts(fit, population)
    assert [(name, c.rows, c.users.sum()) for name, c in found.items()] == [("light", (2, 2), 4)]


def test_the_head_is_the_fewest_items_with_half_of_the_rows() -> None:
    assert breakdown.head(np.array([1, 4, 3, 2])).tolist() == [False, True, True, False]
    assert breakdown.head(np.array([1, 5, 2, 2])).tolist() == [False, True, False, False]


def test_head_and_tail_recalls_agree_with_a_slow_count(
    report: dict[str, Any], fit: Interactions, window: Window
) -> None:
    population = metrics.population(fit.matrix(), window("test").matrix(), filter_seen=True)
    lists = Popularity().fit(fit).recommend(population.users, SETTINGS.k, fit.matrix()).items
    in_head = breakdown.head(np.bincount(fit.items, minlength=fit.shape[1]))
    parts = report["items"]
    for name, wanted in (("head", True), ("tail", False)):
        recalls, rows = [], 0
        for row, shown in enumerate(lists):
            held = {i for i in population.held_out[row].indices.tolist() if in_head[i] == wanted}
            rows += len(held)
            if held:
                recalls.append(len(held & set(shown.tolist())) / len(held))
        assert parts[name]["held_out"] == rows
        assert parts[name]["users"] == len(recalls)
        assert parts[name]["recall"]["popularity"] == pytest.approx(np.mean(recalls))
    assert parts["head"]["held_out"] + parts["tail"]["held_out"] == report["population"]["held_out"]


def test_overlap_is_the_candidates_with_each_other_model(report: dict[str, Any]) -> None:
    assert list(report["overlap"]) == ["popularity", "champion"]
    assert 0 < report["overlap"]["champion"] < 1
    assert report["overlap"]["champion"] == report["overlap"]["popularity"]


def test_newcomers_are_measured_as_of_the_end_of_the_training_window() -> None:
    # User 2 and item 3 come in the validation window. Item 0 is the most popular, item 1 the next.
    training = rows([(0, 0), (1, 0), (1, 1)])
    validation = rows([(2, 1), (2, 2), (0, 3), (2, 3), (0, 1)])
    popularity, everything = Popularity(), Popularity()
    found = cold_start.measure(
        training, validation, {"popularity": popularity}, {"content": everything}, k=2
    )
    # Of user 2's items only item 1 was known; the list is items 0 and 1.
    assert found["users"] == {"users": 1, "held_out": 1, "recall": {"popularity": 1.0}}
    # User 0 has taken the new item 3; its list without item 0 is items 1 and 2.
    assert found["items"] == {"items": 1, "users": 1, "held_out": 1, "recall": {"content": 0.0}}


def test_no_newcomers_have_no_recall() -> None:
    known = rows([(0, 0), (1, 0), (1, 1)])
    found = cold_start.measure(known, known, {"popularity": Popularity()}, {}, k=2)
    assert found["users"] == {"users": 0, "held_out": 0, "recall": {"popularity": None}}


def rows(pairs: list[tuple[int, int]]) -> Interactions:
    users, items = np.array(pairs, dtype=np.int32).T
    ones = np.ones(len(pairs), dtype=np.float32)
    times = np.arange(len(pairs), dtype=np.int64)
    return from_columns(users, items, ones, times, (3, 4))


def test_samples_show_users_of_every_cohort_with_their_newest_items(
    fit: Interactions, window: Window
) -> None:
    held_out = window("test").matrix()
    population = metrics.population(fit.matrix(), held_out, filter_seen=True)
    models = {"als": Popularity(recent_days=20).fit(fit), "champion": Popularity().fit(fit)}
    ids = tuple(
        pa.array([f"{c}{i:03d}" for i in range(n)]) for c, n in zip("ui", fit.shape, strict=True)
    )
    drawn = samples.draw(models, fit, population, SETTINGS, ids)
    assert drawn == samples.draw(models, fit, population, SETTINGS, ids)
    assert len({s["user"] for s in drawn}) == 10
    assert {s["cohort"] for s in drawn} == {"light", "medium", "heavy"}
    for sample in drawn:
        user = int(sample["user"][1:])
        mine = slice(fit.indptr[user], fit.indptr[user + 1])
        times = dict(zip((f"i{i:03d}" for i in fit.items[mine]), fit.timestamp[mine], strict=True))
        newest = sorted(times.values(), reverse=True)[:10]
        assert [times[item] for item in sample["history"]] == newest
        assert set(sample["lists"]) == {"als", "champion"}
        assert all(len(shown) == 6 for shown in sample["lists"].values())
        assert not set(sample["lists"]["als"]) & set(times)
        new = {f"i{i:03d}" for i in held_out[user].indices} - set(times)
        assert set(sample["held_out"]) == new


def test_few_users_are_all_shown(fit: Interactions, window: Window) -> None:
    few = window("test").matrix().tolil()
    few[4:] = 0
    population = metrics.population(fit.matrix(), csr_matrix(few), filter_seen=True)
    ids = tuple(pa.array([str(i) for i in range(n)]) for n in fit.shape)
    drawn = samples.draw({"als": Popularity().fit(fit)}, fit, population, SETTINGS, ids)
    assert 0 < len(drawn) == population.counts["users"] < 10
    assert set(drawn[0]["lists"]) == {"als"}

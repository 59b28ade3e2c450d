"""The search keeps its budget, its ranges and its best trial."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from recommender import config, proposals, search
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.search import Trial

START = config.Als(factors=4, alpha=10, regularization=10, iterations=4)
SPACE = config.Search(
    trials=16,
    alpha=(2, 50),
    regularization=(1, 100),
    factors=(4, 8),
    half_life_days=(None, 30.0),
    max_iterations=9,
)


def bowl(setting: config.Als, bar: float) -> Trial:
    """Score settings by their distance from alpha 30, regularization 5, half life 30."""
    distance = abs(np.log(setting.alpha / 30)) + abs(np.log(setting.regularization / 5))
    recall = float(1 / (1 + distance + (setting.half_life_days is None)))
    return Trial(setting, recall, ((setting.iterations, recall),), 0.0)


def test_the_first_trial_is_the_start_and_gets_the_longest_fit() -> None:
    first = search.search(bowl, START, SPACE, seed=1)[0].setting
    assert first == START.model_copy(update={"iterations": SPACE.max_iterations})


def test_every_proposal_lies_in_the_space() -> None:
    settings = [trial.setting for trial in search.search(bowl, START, SPACE, seed=1)]
    assert len(settings) == SPACE.trials
    for setting in settings:
        assert SPACE.alpha[0] <= setting.alpha <= SPACE.alpha[1]
        assert SPACE.regularization[0] <= setting.regularization <= SPACE.regularization[1]
        assert setting.factors in SPACE.factors
        assert setting.half_life_days in SPACE.half_life_days
    assert len(set(settings)) == SPACE.trials


def test_refining_finds_more_than_exploring_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> float:
        runs = (search.search(bowl, START, SPACE, seed) for seed in range(20))
        return float(np.mean([search.best(trials).recall for trials in runs]))

    refined = found()
    monkeypatch.setattr(proposals, "_EXPLORED", 1.0)
    assert refined > 1.1 * found()


def test_equal_seeds_search_alike_and_others_do_not() -> None:
    first, second, other = (search.search(bowl, START, SPACE, seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_no_trial_starts_after_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 25))  # every look at the clock is 25 s after the last
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    trials = search.search(bowl, START, SPACE.model_copy(update={"minutes": 2.0}), seed=1)
    assert 1 <= len(trials) < 5


def test_one_point_as_a_range_is_that_point() -> None:
    fixed = SPACE.model_copy(update={"alpha": (7.0, 7.0), "regularization": (9.0, 9.0)})
    tried = {
        (t.setting.alpha, t.setting.regularization)
        for t in search.search(bowl, START, fixed, 1)[1:]
    }
    assert tried == {(7.0, 9.0)}


def test_a_trial_keeps_its_best_checkpoint(window: Callable[[str], Interactions]) -> None:
    curve = {3: 0.1, 4: 0.3, 5: 0.2, 7: 0.2, 9: 0.25}
    trial, asked = fit_with(curve, window("train"), bar=0.0)
    assert (trial.setting.iterations, trial.recall) == (4, 0.3)
    assert asked == [3, 4, 5, 7]  # 5 and 7 both below 4: falling, so 9 was never fitted


def test_a_trial_far_behind_the_best_one_ends_early(window: Callable[[str], Interactions]) -> None:
    curve = {3: 0.1, 4: 0.2, 5: 0.3, 7: 0.4, 9: 0.5}
    assert fit_with(curve, window("train"), bar=0.6)[1] == [3, 4, 5, 7]
    assert fit_with(curve, window("train"), bar=0.42)[1] == [3, 4, 5, 7, 9]


def fit_with(curve: dict[int, float], data: Interactions, bar: float) -> tuple[Trial, list[int]]:
    """Run one trial whose recall at its checkpoints is given."""
    asked: list[int] = []
    planned = iter(sorted(search.checkpoints(9)))

    def measure(model: Als) -> float:
        asked.append(next(planned))
        return curve[asked[-1]]

    model = Als(START.model_copy(update={"iterations": 9}), seed=1, threads=1)
    return search.fit_trial(model, data, measure, bar), asked


@pytest.mark.parametrize("iterations", [1, 2, 3, 8, 15, 100])
def test_the_last_iteration_is_measured(iterations: int) -> None:
    planned = search.checkpoints(iterations)
    assert max(planned) == iterations
    assert min(planned) >= 1


@pytest.mark.parametrize(("x", "expected"), [(0.1, 120.0), (0.3, 60.0), (0.6, 60.0), (0.9, 30.0)])
def test_refining_moves_an_alternative_to_its_neighbour_at_most(x: float, expected: float) -> None:
    assert proposals._keep_or_move(60.0, (None, 120.0, 60.0, 30.0), x) == expected

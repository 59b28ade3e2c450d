"""The search keeps its budget, its ranges and its best trial, and survives an interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from recommender import config
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.training import search, study
from recommender.training.search import Hopeless, Trial
from recommender.training.study import Study

START = config.Als(factors=4, alpha=10, regularization=10, iterations=4)
SPACE = config.Search(
    trials=16,
    alpha=(2, 50),
    penalty=(0.1, 10),
    factors=(4, 8),
    half_life_days=(None, 30.0),
    max_iterations=9,
    parallel=2,
)


def bowl(setting: config.Als, _: Hopeless) -> Trial:
    """Score settings by their distance from alpha 30, regularization 5, half life 30."""
    distance = abs(np.log(setting.alpha / 30)) + abs(np.log(setting.regularization / 5))
    recall = float(1 / (1 + distance + (setting.half_life_days is None)))
    return Trial(setting, recall, ((setting.iterations, recall),), 0.0, {})


def test_the_first_trial_is_the_start_and_gets_the_longest_fit() -> None:
    first = search.search(bowl, START, SPACE, seed=1)[0].setting
    assert first == START.model_copy(update={"iterations": SPACE.max_iterations})


def test_every_proposal_lies_in_the_space() -> None:
    settings = [trial.setting for trial in search.search(bowl, START, SPACE, seed=1)]
    assert len(settings) == SPACE.trials
    for setting in settings:
        assert SPACE.alpha[0] <= setting.alpha <= SPACE.alpha[1]
        penalty = setting.regularization / setting.alpha
        assert SPACE.penalty[0] * 0.999 <= penalty <= SPACE.penalty[1] * 1.001  # four digits kept
        assert setting.factors in SPACE.factors
        assert setting.half_life_days in SPACE.half_life_days
    assert len(set(settings)) == SPACE.trials


def test_learning_finds_more_than_exploring_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> float:
        runs = (search.search(bowl, START, SPACE, seed) for seed in range(20))
        return float(np.mean([search.best(trials).recall for trials in runs]))

    learnt = found()
    monkeypatch.setattr(search, "_EXPLORED", 1.0)
    assert learnt > 1.1 * found()


def test_equal_seeds_search_alike_and_others_do_not() -> None:
    first, second, other = (search.search(bowl, START, SPACE, seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_no_trial_starts_after_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 25))  # every look at the clock is 25 s after the last
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    trials = search.search(
        bowl, START, SPACE.model_copy(update={"minutes": 2.0, "parallel": 1}), seed=1
    )
    assert 1 <= len(trials) < 5


def test_one_point_as_a_range_is_that_point() -> None:
    fixed = SPACE.model_copy(update={"alpha": (7.0, 7.0), "penalty": (9.0, 9.0)})
    tried = {
        (t.setting.alpha, t.setting.regularization)
        for t in search.search(bowl, START, fixed, 1)[1:]
    }
    assert tried == {(7.0, 63.0)}


def test_a_trial_keeps_its_best_checkpoint(window: Callable[[str], Interactions]) -> None:
    curve = {2: 0.1, 3: 0.3, 5: 0.2, 8: 0.35, 9: 0.25}
    trial, asked = fit_with(curve, window("train"))
    assert (trial.setting.iterations, trial.recall) == (3, 0.3)
    assert asked == [2, 3, 5]  # 5 below 3: falling, so 8 was never fitted


def test_a_trial_that_is_given_up_ends_there(window: Callable[[str], Interactions]) -> None:
    curve = {2: 0.1, 3: 0.2, 5: 0.3, 8: 0.4, 9: 0.5}
    trial, asked = fit_with(curve, window("train"), lambda iteration, _: iteration >= 5)
    assert asked == [2, 3, 5]
    assert trial.pruned


def fit_with(
    curve: dict[int, float], data: Interactions, hopeless: Hopeless = lambda *_: False
) -> tuple[Trial, list[int]]:
    """Run one trial whose recall at its checkpoints is given."""
    asked: list[int] = []
    planned = iter(sorted(search.checkpoints(9)))

    def measure(model: Als) -> float:
        asked.append(next(planned))
        return curve[asked[-1]]

    model = Als(START.model_copy(update={"iterations": 9}), seed=1, threads=1)
    return search.fit_trial(model, data, measure, hopeless), asked


def test_only_judged_trials_far_behind_the_best_are_pruned() -> None:
    """The start scores 0.5; all others say at iterations 1 and 2 that they are at 0.4 or 0.46."""
    told: list[tuple[float, int, bool]] = []

    def run(setting: config.Als, hopeless: Hopeless) -> Trial:
        recall = 0.46 if setting.factors == 8 else 0.4
        first = not told
        if first:
            told.append((0.5, 0, False))
        else:
            told.extend((recall, i, hopeless(i, recall)) for i in (1, 2))
        best = 0.5 if first else recall
        return Trial(setting, best, ((2, best),), 0.0, {})

    space = SPACE.model_copy(update={"parallel": 1, "prune_below": 0.9})
    search.search(run, START, space, seed=1)
    assert {pruned for _, i, pruned in told if i == 1} == {False}
    judged = {(recall, pruned) for recall, i, pruned in told if i == 2}
    assert judged == {(0.46, False), (0.4, True)}


def test_a_batch_that_begins_with_exploring_explores() -> None:
    """Of 16 trials the start and three pairs look everywhere."""
    trials = search.search(bowl, START, SPACE, seed=1)
    spread = [search._spread(SPACE, 1, place) for place in range(1, 16)]
    assert [t.params == point for t, point in zip(trials[1:], spread, strict=True)] == (
        [True] * 6 + [False] * 9
    )


def test_an_interrupted_search_ends_as_an_uninterrupted_one() -> None:
    whole = search.search(bowl, START, SPACE, seed=3)
    stored: list[Sequence[Trial]] = []
    search.search(bowl, START, SPACE, seed=3, keep=lambda trials: stored.append(tuple(trials)))
    assert [len(trials) for trials in stored] == [1, 3, 5, 7, 9, 11, 13, 15, 16]
    for done in stored:
        assert search.search(bowl, START, SPACE, seed=3, done=done) == whole


def test_which_trial_of_a_batch_ends_first_changes_nothing() -> None:
    """The first of every pair waits for the second."""
    second = threading.Event()
    number = iter(range(100))

    def run(setting: config.Als, hopeless: Hopeless) -> Trial:
        place = next(number)
        if place % 2 == 1:
            assert second.wait(10)
            second.clear()
        elif place:
            second.set()
        return bowl(setting, hopeless)

    space = SPACE.model_copy(update={"trials": 9})
    side_by_side = search.search(run, START, space, seed=5, workers=2)
    assert side_by_side == search.search(bowl, START, space, seed=5)


def test_trials_are_stored_and_taken_up_by_the_same_search_only(tmp_path: Path) -> None:
    uri = str(tmp_path / "study")
    mine = Study(uri, study.fingerprint(seed=1))
    assert mine.done() == []
    trials = search.search(bowl, START, SPACE, seed=1, keep=mine.keep)
    assert mine.done() == trials
    assert Study(uri, study.fingerprint(seed=2)).done() == []
    Study(None, "").keep(trials)
    assert Study(None, "").done() == []


def test_a_local_search_stays_around_its_centre() -> None:
    centre = START.model_copy(update={"factors": 8, "half_life_days": 30.0, "alpha": 40})
    space = search.narrowed(SPACE, centre)
    settings = [trial.setting for trial in search.search(bowl, centre, space, seed=1)]
    assert len(settings) == SPACE.local_trials
    for setting in settings:
        assert 40 / 1.5 <= setting.alpha <= 40 * 1.5
        assert (setting.factors, setting.half_life_days) == (8, 30.0)


@pytest.mark.parametrize("iterations", [1, 2, 3, 8, 15, 100])
def test_the_last_iteration_is_measured(iterations: int) -> None:
    planned = search.checkpoints(iterations)
    assert max(planned) == iterations
    assert min(planned) >= 1

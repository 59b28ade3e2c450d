"""A start from singular vectors is the truncated decomposition, whatever the shape and the seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recommender import config
from recommender.interactions import Interactions
from recommender.models import Als
from recommender.models.als import Factors
from recommender.models.als.weighted import weighted
from recommender.training import spectral_start

Window = Callable[[str], Interactions]
SETTING = config.Als(factors=8, alpha=20, regularization=40, iterations=2)


def test_no_other_eight_directions_explain_much_more(window: Window) -> None:
    rows = window("train")
    found = spectral_start.directions(rows, SETTING, 8, seed=1)
    dense = weighted(rows, SETTING).toarray().astype(np.float64)
    best = np.sqrt((np.linalg.svd(dense, compute_uv=False)[8:] ** 2).sum())
    left = np.linalg.norm(dense - (found.users * found.values) @ found.items.T)
    assert best <= left < 1.01 * best


def test_products_are_those_directions_with_lowered_values(window: Window) -> None:
    found = spectral_start.directions(window("train"), SETTING, 8, seed=1)
    start = found.start(SETTING)  # regularization / alpha is 2
    expected = (found.users * np.maximum(found.values - 2, 0.02 * found.values)) @ found.items.T
    assert np.allclose(start.users @ start.items.T, expected, atol=1e-5)


def test_longer_directions_begin_with_the_shorter(window: Window) -> None:
    """A search finds them once, at its greatest length."""
    rows, short = window("train"), SETTING.model_copy(update={"factors": 4})
    of_eight = spectral_start.directions(rows, SETTING, 8, seed=1).start(short)
    of_four = spectral_start.directions(rows, short, 4, seed=1).start(short)
    assert of_eight.users.shape == (120, 4)
    first, second = (start.users @ start.items.T for start in (of_eight, of_four))
    assert np.abs(first - second).max() < 0.05 * np.abs(first).max()


def test_a_fit_from_it_needs_fewer_iterations(window: Window) -> None:
    """One iteration from it has a lower loss than two from noise, two a lower one than three."""
    rows = window("train")
    found = spectral_start.directions(rows, SETTING, 8, seed=1)

    def loss(iterations: int, given: Factors | None = None) -> float:
        setting = SETTING.model_copy(update={"iterations": iterations})
        return Als(setting, 3, 1, keep_losses=True).fit(rows, start=given).losses[-1]

    assert loss(1, found.start(SETTING)) < loss(2)
    assert loss(2, found.start(SETTING)) < loss(3)


@pytest.mark.parametrize("factors", [8, 500])  # as many as there are directions, and filled up
def test_trials_that_share_directions_all_start_from_the_same(window: Window, factors: int) -> None:
    rows, setting = window("train"), SETTING.model_copy(update={"factors": factors})
    found = spectral_start.directions(rows, setting, factors, seed=1)
    first = found.start(setting)
    kept = [side.copy() for side in first]
    Als(setting, 3, 1).fit(rows, start=first)  # it writes into its start
    for again, side in zip(found.start(setting), kept, strict=True):
        np.testing.assert_array_equal(again, side)


def test_the_half_life_changes_the_directions(window: Window) -> None:
    rows = window("train")
    found = spectral_start.of_every_half_life(rows, SETTING, {None, 10.0}, 8, seed=1)
    assert found[10.0].values[0] < 0.7 * found[None].values[0]


@pytest.mark.parametrize("factors", [79, 80, 81, 200])
def test_more_factors_than_items_are_filled_with_noise(window: Window, factors: int) -> None:
    setting = SETTING.model_copy(update={"factors": factors})
    directions = spectral_start.directions(window("train"), setting, factors, seed=1)
    start, again = directions.start(setting), directions.start(setting)
    assert (start.users.shape, start.items.shape) == ((120, factors), (80, factors))
    assert start.users.dtype == start.items.dtype == np.float32
    assert np.abs(start.users[:, 80:]).max(initial=0.0) <= 0.01
    assert (start.users == again.users).all()
    assert np.isfinite(Als(setting, 3, 1).fit(window("train"), start=start).user_factors).all()

"""The bootstrap is checked against plain resampling and normal theory."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.evaluation import bootstrap


def test_interval_agrees_with_resampling_the_users_one_by_one() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 4, 300) / 4
    means = [generator.choice(values, len(values)).mean() for _ in range(4000)]
    low, high = bootstrap.interval(values, 4000, 0.95, seed=1)
    # Quantiles of 4,000 resamples scatter by about 2 % of the interval's length.
    assert [low, high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)


def test_interval_of_many_users_is_the_normal_one() -> None:
    values = np.random.default_rng(2).normal(size=2000)
    low, high = bootstrap.interval(values, 4000, 0.9, seed=3)
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.645 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.645 * error, abs=0.15 * error)


def test_equal_seeds_give_equal_digits_and_others_do_not() -> None:
    values = np.random.default_rng(4).random(100)
    assert bootstrap.interval(values, 500, 0.95, 5) == bootstrap.interval(values, 500, 0.95, 5)
    assert bootstrap.interval(values, 500, 0.95, 5) != bootstrap.interval(values, 500, 0.95, 6)


def test_chunks_do_not_change_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).random(50)
    whole = bootstrap.interval(values, 300, 0.95, 8)
    monkeypatch.setattr(bootstrap, "_BLOCK_BYTES", 16 * 50 * 7)
    assert bootstrap.interval(values, 300, 0.95, 8) == whole


def test_pairing_sees_a_small_gain_that_users_share() -> None:
    """Between users recall scatters by 0.3; a gain of 0.01 for each is certain all the same."""
    baseline = np.random.default_rng(9).normal(0.5, 0.3, 500)
    found = bootstrap.compare(baseline + 0.01, baseline, 500, 0.95, 0)
    assert found.difference == pytest.approx(0.01)
    assert found.ci_low > 0
    assert found.relative == pytest.approx(0.01 / baseline.mean())


def test_a_baseline_without_a_hit_has_no_relative_gain() -> None:
    found = bootstrap.compare(np.array([0.5, 0.0]), np.zeros(2), 100, 0.95, 0)
    assert found.relative is None
    assert found.difference == 0.25


def test_one_user_gives_a_point() -> None:
    assert bootstrap.interval(np.array([0.25]), 100, 0.95, 0) == (0.25, 0.25)

"""Bound means and paired differences by resampling users (percentile bootstrap).

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Comparison:
    """State by how much the candidate's mean exceeds the baseline's over the same users.

    Attributes:
        difference: mean(candidate - baseline).
        relative: difference / mean(baseline); None if the baseline's mean is 0.
        ci_low: lower end of the interval of ``difference``.
        ci_high: upper end.
    """

    difference: float
    relative: float | None
    ci_low: float
    ci_high: float


def interval(
    values: npt.NDArray[np.float64], samples: int, coverage: float, seed: int
) -> tuple[float, float]:
    """Return the percentile interval of the mean of (n,) per-user values.

    A resample of n users is, for the mean, a multinomial draw of how often each DISTINCT value
    occurs. Drawing those counts is exact and costs samples * distinct values, not
    samples * users: recall takes few distinct values even over millions of users.
    """
    distinct, counts = np.unique(values, return_counts=True)
    return interval_of(distinct, counts, samples, coverage, seed)


def interval_of(
    distinct: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    samples: int,
    coverage: float,
    seed: int,
) -> tuple[float, float]:
    """Return the interval of values of which only is known how often each distinct one occurs."""
    users = int(counts.sum())
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    step = max(1, _BLOCK_BYTES // (16 * len(distinct)))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        drawn = generator.multinomial(users, counts / users, size=size)
        # A plain sum: BLAS would add in an order that depends on the machine's cores.
        means[start : start + size] = (drawn * distinct).sum(axis=1) / users
    tail = (1 - coverage) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def compare(
    candidate: npt.NDArray[np.float64],
    baseline: npt.NDArray[np.float64],
    samples: int,
    coverage: float,
    seed: int,
) -> Comparison:
    """Compare two models user by user; both arrays are (n,) over the same users, n >= 1."""
    differences = candidate - baseline
    difference, reference = float(differences.mean()), float(baseline.mean())
    low, high = interval(differences, samples, coverage, seed)
    relative = difference / reference if reference > 0 else None
    return Comparison(difference, relative, low, high)


def comparison_of(
    distinct: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    reference: float,
    samples: int,
    coverage: float,
    seed: int,
) -> Comparison:
    """Compare where only is known how often each distinct difference of two users' values occurs.

    Args:
        distinct: differences, candidate - baseline, ascending.
        counts: how many users have each.
        reference: mean of the baseline.
        samples: resamples.
        coverage: of the interval.
        seed: of the resamples.
    """
    difference = float((distinct * counts).sum() / counts.sum())
    low, high = interval_of(distinct, counts, samples, coverage, seed)
    return Comparison(difference, difference / reference if reference > 0 else None, low, high)

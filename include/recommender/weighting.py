"""Weigh interactions as the objective does: the same in a fit and in a fold-in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recommender.interactions import Interactions


def weigh(
    confidence: npt.NDArray[np.float32],
    counts: npt.NDArray[np.integer],
    age_days: npt.NDArray[np.float64] | None,
    *,
    typical_rows: float,
    half_life_days: float | None,
    user_balance: float,
) -> npt.NDArray[np.float32]:
    """Return r of every interaction, (n,) float32; the loss weighs it with alpha * r.

    r = confidence * 0.5 ** (age / half life) * (rows of the user / typical rows) ** -user_balance

    Args:
        confidence: (n,) strength of the positive, grouped by user.
        counts: (users,) interactions of each user in that order; they add up to n.
        age_days: (n,) days before the newest fit row; None without a half life.
        typical_rows: median interactions of the fitted users.
        half_life_days: age at which a confidence has halved; None keeps it.
        user_balance: counterweight of heavy users, 0 to 1.
    """
    balance = (np.maximum(counts, 1) / typical_rows) ** -user_balance
    weights = confidence * np.repeat(balance, counts)
    if half_life_days is not None and age_days is not None:
        weights *= np.exp2(-age_days / half_life_days)
    return np.asarray(weights, dtype=np.float32)


def weigh_all(
    rows: Interactions,
    *,
    factor: float,
    typical_rows: float,
    half_life_days: float | None,
    user_balance: float,
) -> npt.NDArray[np.float32]:
    """Return factor * r of every interaction, (n,) float32, with the memory of a block beside it."""
    weights = np.empty(len(rows), dtype=np.float32)
    counts = np.diff(rows.indptr)
    for users, own in rows.blocks():
        weights[own] = weigh(
            rows.confidence[own],
            counts[users],
            None if half_life_days is None else rows.age_days(own),
            typical_rows=typical_rows,
            half_life_days=half_life_days,
            user_balance=user_balance,
        )
        weights[own] *= np.float32(factor)
    return weights

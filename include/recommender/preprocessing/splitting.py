"""Cut time into a training, a validation and a test window, the same instants for everyone.

With T the latest timestamp, H ``holdout_days`` and V ``validation_days`` (a day is 86,400 s)::

    fit_until   = T - 86400 * H
    train_until = T - 86400 * (H + V)
    train       : timestamp <= train_until
    validation  : train_until < timestamp <= fit_until
    test        : fit_until < timestamp <= T

The cuts are exact seconds, not midnights, so a window's length does not depend on the hour of
the last event. Nothing fitted may see a row later than ``fit_until``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommender import columns as c
from recommender import engines
from recommender.config import Preprocess
from recommender.engines import F
from recommender.schemas import TEST, TRAIN, VALIDATION, WINDOW

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAY = 86_400


@dataclass(frozen=True)
class Cuts:
    """Hold the ends of the windows, in epoch seconds; each window includes its end."""

    train_until: int
    fit_until: int
    data_until: int

    @classmethod
    def back_from(cls, latest: int, settings: Preprocess) -> Cuts:
        """Compute the cuts from the latest timestamp of the parsed rows."""
        fit_until = latest - settings.holdout_days * DAY
        return cls(fit_until - settings.validation_days * DAY, fit_until, latest)


def assign_windows(interactions: DataFrame, cuts: Cuts) -> DataFrame:
    """Add the column ``window`` to rows that have a timestamp."""
    time = F.col(c.TIMESTAMP)
    window = F.when(time <= cuts.train_until, F.lit(TRAIN))
    window = window.when(time <= cuts.fit_until, F.lit(VALIDATION)).otherwise(F.lit(TEST))
    return interactions.withColumn(WINDOW, window)


def fit_pairs(windowed: DataFrame, validation_rows: int) -> DataFrame:
    """Give the distinct (user_id, item_id) that may be fitted on: of training and validation.

    A window holds a pair once, so only one that is in both is there twice. The short window is looked
    up: the long one's rows need not be hashed, or moved, to find that out.

    Args:
        windowed: rows with a window, distinct by window, user and item.
        validation_rows: how many of them are the short window's.
    """
    training, validation = (
        windowed.filter(F.col(WINDOW) == window).select(c.USER_ID, c.ITEM_ID)
        for window in (TRAIN, VALIDATION)
    )
    known = engines.current().small(validation, validation_rows)
    return training.join(known, [c.USER_ID, c.ITEM_ID], "left_anti").unionByName(validation)

"""Hold how far a dataset may differ from the previous one: first a warning, then a block."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

Range = tuple[float | None, float | None]
"""Lowest and highest value that is allowed; null is no limit on that side."""

_NO_LIMIT: Range = (None, None)


@dataclass(frozen=True)
class Limits:
    """Set the ranges of every check; ``[null, null]`` switches one off.

    A value outside of ``*_warn`` is told, one outside of ``*_block`` stops the run before training.
    ``rows``, ``users``, ``items`` and ``rows_a_day`` are changes relative to the previous run's
    (-0.3 is 30 % fewer), shares are differences (0.05 is five points more), days are differences in
    days. ``busiest_day`` and ``lag_days`` need no previous run.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own protocol, no field

    rows_warn: Range = (-0.05, 1.0)
    rows_block: Range = (-0.3, None)
    """Lines that could be read. Growth blocks nothing: a backlog may arrive at once."""

    users_warn: Range = (-0.05, 1.0)
    users_block: Range = (-0.3, None)
    """Users with enough interactions to be trained on."""

    items_warn: Range = (-0.05, 1.0)
    items_block: Range = (-0.3, None)
    """Items with enough users to be trained on."""

    rows_a_day_warn: Range = (-0.3, 0.5)
    rows_a_day_block: Range = (-0.6, 4.0)
    """Median of the last 28 days: what the shop sends at present."""

    duplicate_share_warn: Range = (-0.1, 0.05)
    duplicate_share_block: Range = (None, 0.2)
    """Share of rows that repeat a user and an item; an export that runs twice raises it."""

    verified_share_warn: Range = (-0.05, 0.05)
    verified_share_block: Range = (-0.25, 0.25)
    """Share of verified purchases, in the formats that tell."""

    top_item_share_warn: Range = (None, 0.01)
    top_item_share_block: Range = (None, 0.05)
    """Share of the training rows that are about one item: a default value, or a bot."""

    new_item_share_warn: Range = (-0.2, 0.1)
    new_item_share_block: Range = (None, 0.3)
    """Share of the test window's items that training does not know: new ids for old items."""

    gap_days_warn: Range = (None, 2)
    gap_days_block: Range = (None, 7)
    """Longest run of days without a row: a lost file, or a day that is yet to come."""

    busiest_day_warn: Range = (None, 5.0)
    busiest_day_block: Range = (None, 20.0)
    """Rows of the busiest of the last 28 days over their median: a day that was sent often."""

    lag_days_warn: Range = (None, 3)
    lag_days_block: Range = _NO_LIMIT
    """Days from the newest row to the snapshot's date: an export that stands still."""

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ValueError: names the range, what was expected and what was found.
        """
        for field in fields(self):
            _check_range(field.name, getattr(self, field.name))

    def of(self, name: str) -> tuple[Range, Range]:
        """Return the ranges of a check: to warn, to block."""
        return getattr(self, f"{name}_warn"), getattr(self, f"{name}_block")


def allows(allowed: Range, value: float) -> bool:
    """Tell whether a value lies in a range, its ends included."""
    low, high = allowed
    return (low is None or value >= low) and (high is None or value <= high)


def _check_range(name: str, value: Any) -> None:  # noqa: ANN401 - from a configuration file
    try:
        low, high = value
    except (TypeError, ValueError):
        low = high = math.nan
    for end in (low, high):
        number = isinstance(end, int | float) and not isinstance(end, bool)
        if end is not None and not (number and math.isfinite(end)):
            message = f"{name}: expected [low, high], each a number or null, found {value!r}"
            raise ValueError(message)
    if low is not None and high is not None and low > high:
        message = f"{name}: expected low <= high, found {value!r}"
        raise ValueError(message)

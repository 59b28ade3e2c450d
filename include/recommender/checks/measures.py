"""Read out of a profile what is compared; a profile that lacks a number is not trusted."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RECENT_DAYS = 28
"""Days at the end of the data that stand for the present: four whole weeks."""

_FEW_ROWS = 20  # a day: below, the busiest day over the median is chance


class MalformedProfileError(ValueError):
    """The profile cannot be read; the message says what is wrong."""


@dataclass(frozen=True)
class Measures:
    """Hold what is compared of a dataset; None where it cannot be told.

    Attributes:
        settings: of preprocessing; some measures follow from them.
        values: by name of the check.
        gap: the days of the longest gap, for the sentence; None without one.
        busiest: the busiest recent day, for the sentence.
    """

    settings: Mapping[str, Any]
    values: Mapping[str, float | None]
    gap: str | None
    busiest: str | None


def read_measures(profile: Any, snapshot: dt.date) -> Measures:  # noqa: ANN401 - read from outside
    """Read a profile that preprocessing wrote.

    Args:
        profile: the parsed ``profile.json``.
        snapshot: date of the snapshot.

    Raises:
        MalformedProfileError: something is missing, or no finite number.
    """
    try:
        return _read(profile, snapshot)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        ZeroDivisionError,
    ) as error:
        message = f"the profile cannot be read: {type(error).__name__} {error}"
        raise MalformedProfileError(message) from error


def _read(profile: Mapping[str, Any], snapshot: dt.date) -> Measures:
    stages = {stage["stage"]: int(stage["rows"]) for stage in profile["stages"]}
    windows, cold = profile["windows"], profile["cold"]["test"]
    begin = dt.date.fromisoformat(profile["days"]["first_date"])
    days = [int(n) for n in profile["days"]["rows"]]
    recent = days[-RECENT_DAYS:]
    gap_at, gap = _longest_gap(days)
    usual = statistics.median(recent)
    known_items = int(windows["test"]["items"])
    last = begin + dt.timedelta(days=len(days) - 1)
    values: dict[str, float | None] = {
        "rows": stages["parsed"],
        "users": int(profile["users"]),
        "items": int(profile["items"]),
        "rows_a_day": usual,
        "duplicate_share": float(profile["duplicates"]["share"]),
        "verified_share": _share(profile["verified"]["share"]),
        "top_item_share": windows["train"]["top_item_rows"] / windows["train"]["rows"],
        "new_item_share": cold["items"] / (cold["items"] + known_items),
        "gap_days": gap,
        "busiest_day": max(recent) / usual if usual >= _FEW_ROWS else None,
        "lag_days": max(0, (snapshot - last).days),
    }
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            message = f"{name} is {value}"
            raise ValueError(message)
    top = last - dt.timedelta(days=len(recent) - 1 - recent.index(max(recent)))
    return Measures(
        settings=dict(profile["settings"]),
        values=values,
        gap=_days(begin, gap_at, gap) if gap else None,
        busiest=top.isoformat(),
    )


def _share(value: Any) -> float | None:  # noqa: ANN401 - read from outside
    return None if value is None else float(value)


def _longest_gap(days: Sequence[int]) -> tuple[int, int]:
    """Return where the longest run of days without a row begins, and its length; the last of equals."""
    start = longest = length = 0
    for number, rows in enumerate(days):
        length = 0 if rows else length + 1
        if length and length >= longest:
            start, longest = number - length + 1, length
    return start, longest


def _days(begin: dt.date, start: int, length: int) -> str:
    first = begin + dt.timedelta(days=start)
    last = first + dt.timedelta(days=length - 1)
    return first.isoformat() if length == 1 else f"{first} to {last}"

"""Describe a dataset in numbers that can be followed from raw line to encoded row."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recommender import columns as c
from recommender.engines import F
from recommender.preprocessing.encoding import cold, known
from recommender.preprocessing.splitting import DAY
from recommender.schemas import TEST, VALIDATION, WINDOW, WINDOWS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

_EPOCH = dt.date(1970, 1, 1)


class Stages:
    """Collect the number of rows at every stage, and log each with the seconds it took."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._began = self._last = time.monotonic()

    def add(self, stage: str, rows: int) -> None:
        """Note a stage's rows."""
        now = time.monotonic()
        logger.info("%-22s %12s rows  %6.1f s", stage, f"{rows:,}", now - self._last)
        self._last = now
        self.rows.append({"stage": stage, "rows": rows})

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return round(time.monotonic() - self._began, 1)

    def __str__(self) -> str:
        """Return the stages on one line, for an error message."""
        return ", ".join(f"{s['stage']} {s['rows']}" for s in self.rows)


def iso(epoch: int | None) -> str | None:
    """Write an epoch second as ISO 8601 in UTC."""
    if epoch is None:
        return None
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Calendar:
    """Hold rows by window and by day.

    Attributes:
        windows: rows of each window; an empty one has 0.
        days: days since the epoch (UTC) -> rows; only days with rows.
        marked: rows whose confidence is not 1.
    """

    windows: dict[str, int]
    days: dict[int, int]
    marked: int

    @property
    def rows(self) -> int:
        """Return the rows of all windows."""
        return sum(self.windows.values())

    def to_json(self) -> dict[str, Any]:
        """Return the profile's section: the first day, and the rows of every day from it on."""
        first, last = min(self.days), max(self.days)
        rows = [self.days.get(day, 0) for day in range(first, last + 1)]
        return {"first_date": (_EPOCH + dt.timedelta(days=first)).isoformat(), "rows": rows}


def calendar(windowed: DataFrame) -> Calendar:
    """Count rows by window and day: in one pass, from which a few thousand numbers return.

    Args:
        windowed: from ``cleaning.deduplicate``.
    """
    day = F.floor(F.col(c.TIMESTAMP) / DAY).cast("int").alias("day")
    marked = F.when(F.col(c.CONFIDENCE) != 1.0, F.lit(1)).otherwise(F.lit(0))
    windows, days, strong = dict.fromkeys(WINDOWS, 0), Counter[int](), 0
    for row in (
        windowed.select(WINDOW, day, marked.alias("marked"))
        .groupBy(WINDOW, "day")
        .agg(F.count(F.lit(1)).alias("rows"), F.sum("marked").alias("marked"))
        .collect()
    ):
        windows[row[WINDOW]] += int(row["rows"])
        days[int(row["day"])] += int(row["rows"])
        strong += int(row["marked"])
    return Calendar(windows, dict(days), strong)


def window_facts(encoded: DataFrame) -> dict[str, dict[str, Any]]:
    """Give rows, users, items, the busiest of each, first and last time of each window.

    Args:
        encoded: from ``encoding.encode``.
    """
    rows = known(encoded)
    # Two small groupings are three times as fast as two distinct counts in one.
    by_user = rows.groupBy(WINDOW, c.USER).agg(
        F.count(F.lit(1)).alias("rows"),
        F.min(c.TIMESTAMP).alias("first"),
        F.max(c.TIMESTAMP).alias("last"),
    )
    users = by_user.groupBy(WINDOW).agg(
        F.sum("rows").alias("rows"),
        F.count(F.lit(1)).alias("users"),
        F.max("rows").alias("top_user_rows"),
        F.min("first").alias("first"),
        F.max("last").alias("last"),
    )
    by_item = rows.groupBy(WINDOW, c.ITEM).agg(F.count(F.lit(1)).alias("rows"))
    items = by_item.groupBy(WINDOW).agg(
        F.count(F.lit(1)).alias("items"), F.max("rows").alias("top_item_rows")
    )
    found = users.join(items, WINDOW).collect()
    empty: dict[str, Any] = dict.fromkeys(("rows", "users", "items"), 0)
    empty |= {"top_user_rows": 0, "top_item_rows": 0, "first": None, "last": None}
    facts = {window: dict(empty) for window in WINDOWS}
    facts.update({row[WINDOW]: {key: row[key] for key in empty} for row in found})
    for fact in facts.values():
        fact["first_date"], fact["last_date"] = iso(fact["first"]), iso(fact["last"])
    return facts


def cold_facts(encoded: DataFrame, rows: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Count what cannot be encoded: rows of users or items unknown to the fit rows.

    In the validation window, which is itself fitted on, these are users and items below the
    minimum support; in the test window also those that are new.

    Args:
        encoded: from ``encoding.encode``.
        rows: rows of each window, cold or not.

    Returns:
        for validation and test: cold rows, their share of the window, and how many distinct
        users and items are unknown.
    """
    found = {
        r[WINDOW]: r
        for r in cold(encoded)
        .groupBy(WINDOW)
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_distinct(c.USER_ID).alias("users"),
            F.count_distinct(c.ITEM_ID).alias("items"),
        )
        .collect()
    }
    facts = {}
    for window in (VALIDATION, TEST):
        fact = {
            key: found[window][key] if window in found else 0 for key in ("rows", "users", "items")
        }
        share = fact["rows"] / rows[window] if rows[window] else 0.0
        facts[window] = {**fact, "row_share": round(share, 6)}
    return facts


_EDGE_BLANKS = "^[ \t\u00a0]|[ \t\u00a0]\\z"


def id_facts(users: DataFrame, items: DataFrame, digits: int | None) -> dict[str, int | None]:
    """Count the ids that look damaged; they are kept as written, as nobody can tell for sure.

    Args:
        users: (user, user_id).
        items: (item, item_id).
        digits: length of an item's id that is all digits; None where there is none.

    Returns:
        users and items whose id begins or ends with a blank; items that have lost leading zeros
        (all digits and too short), and how many of those are there with their zeros as well, which
        makes two items of one. The last two are None without ``digits``.
    """
    facts: dict[str, int | None] = {
        "users_with_blanks": _n_like(users, c.USER_ID, _EDGE_BLANKS),
        "items_with_blanks": _n_like(items, c.ITEM_ID, _EDGE_BLANKS),
        "items_without_zeros": None,
        "items_split_by_zeros": None,
    }
    if digits is not None:
        short = items.filter(F.col(c.ITEM_ID).rlike(f"^[0-9]{{1,{digits - 1}}}\\z"))
        whole = short.select(F.lpad(c.ITEM_ID, digits, "0").alias(c.ITEM_ID))
        facts["items_without_zeros"] = int(short.count())
        facts["items_split_by_zeros"] = int(
            items.join(whole.distinct(), c.ITEM_ID, "left_semi").count()
        )
    return facts


def _n_like(ids: DataFrame, column: str, pattern: str) -> int:
    return int(ids.filter(F.col(column).rlike(pattern)).count())

"""Describe a dataset in numbers that can be followed from raw line to encoded row."""

from __future__ import annotations

import datetime as dt
import logging
import time
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender.encoding import cold, known
from recommender.schemas import TEST, VALIDATION, WINDOW, WINDOWS

logger = logging.getLogger(__name__)


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


def window_rows(windowed: DataFrame) -> dict[str, int]:
    """Count the rows of each window; an empty one has 0."""
    found = {r[WINDOW]: int(r["count"]) for r in windowed.groupBy(WINDOW).count().collect()}
    return {window: found.get(window, 0) for window in WINDOWS}


def window_facts(encoded: DataFrame) -> dict[str, dict[str, Any]]:
    """Give rows, distinct users and items, first and last time of each window's encoded rows.

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
        F.min("first").alias("first"),
        F.max("last").alias("last"),
    )
    by_item = rows.select(WINDOW, c.ITEM).distinct()
    items = by_item.groupBy(WINDOW).agg(F.count(F.lit(1)).alias("items"))
    found = users.join(items, WINDOW).collect()
    empty: dict[str, Any] = {"rows": 0, "users": 0, "items": 0, "first": None, "last": None}
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

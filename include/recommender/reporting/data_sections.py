"""Lay out what the data looked like, and what changed since the snapshot before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from recommender.reporting import figures
from recommender.reporting import wording as w
from recommender.reporting.material import Material
from recommender.reporting.wording import Absent


def profile(material: Material) -> dict[str, Any]:
    """Return the dataset's numbers beside those of the snapshot before."""
    now, before = material.profile, material.earlier
    if now is None:
        message = "There is no profile of the data."
        raise Absent(message)
    numbers, earlier = dict(_numbers(now)), dict(_numbers(before or {}))
    return {
        "earlier": material.earlier_snapshot if before is not None else None,
        "rows": [
            (name, _value(value), _value(earlier.get(name)), w.change(value, earlier.get(name)))
            for name, value in numbers.items()
        ],
        "plot": _calendar(now, before),
        "cold": [
            (window, w.count(fact["rows"]), w.percent(fact["row_share"]))
            for window, fact in (now.get("cold") or {}).items()
        ],
    }


def _numbers(document: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for stage in document.get("stages") or []:
        yield f"rows: {stage['stage'].replace('_', ' ')}", stage["rows"]
    quarantined = document.get("quarantined")
    if isinstance(quarantined, Mapping):
        yield "rows: quarantined", sum(quarantined.values())
    for key in ("users", "items", "density"):
        if isinstance(document.get(key), int | float):
            yield key, document[key]
    for window, facts in (document.get("windows") or {}).items():
        yield f"{window} window: rows", facts.get("rows")
        yield f"{window} window: users", facts.get("users")


def _value(value: float | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else w.count(value)


def _calendar(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> str | None:
    days = now.get("days")
    if not isinstance(days, Mapping) or not days.get("rows"):
        return None
    first = dt.date.fromisoformat(days["first_date"])
    other = (before or {}).get("days") or {}
    earlier = list(other.get("rows") or [])
    if earlier:
        shift = (dt.date.fromisoformat(other["first_date"]) - first).days
        earlier = [0] * shift + earlier if shift > 0 else earlier[-shift:]
    ends = {
        window: facts["last_date"][:10]
        for window, facts in (now.get("windows") or {}).items()
        if facts.get("last_date")
    }
    return figures.calendar(first.isoformat(), days["rows"], earlier, ends)


def checks(material: Material) -> dict[str, Any]:
    """Return what the data checks found, what is worst first."""
    found = material.checks
    if not found or not found.get("checks"):
        message = "No data checks have been recorded for this run."
        raise Absent(message)
    ranked = sorted(found["checks"], key=lambda check: _WORST_FIRST.get(check["result"], 0))
    compared = found.get("compared_with") or {}
    return {
        "outcome": found["outcome"],
        "reason": found["reason"],
        "compared_with": compared.get("snapshot"),
        "rows": [
            (check["name"].replace("_", " "), check["result"].replace("_", " "), check["sentence"])
            for check in ranked
        ],
    }


_WORST_FIRST = {"block": 0, "warn": 1, "pass": 2, "not_compared": 3}

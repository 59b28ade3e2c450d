"""Hold one measure against the previous run's: a result, the numbers, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from recommender.checks.limits import Limits, Range, allows
from recommender.checks.measures import Measures

Result = Literal["pass", "warn", "block", "not_compared"]
Kind = Literal["relative", "difference", "level"]


@dataclass(frozen=True)
class _Rule:
    """Say how a measure is compared and spoken of.

    Attributes:
        kind: ``relative`` to the previous value, ``difference`` from it, or the ``level`` itself.
        label: what the number is.
        share: whether it is a share, written in percent.
        settings: whether it follows from the settings of preprocessing, so that it can be compared
            only under the same ones.
    """

    kind: Kind
    label: str
    share: bool = False
    settings: bool = False


RULES: Mapping[str, _Rule] = {
    "rows": _Rule("relative", "rows that could be read"),
    "users": _Rule("relative", "users", settings=True),
    "items": _Rule("relative", "items", settings=True),
    "rows_a_day": _Rule("relative", "rows a day", settings=True),
    "duplicate_share": _Rule("difference", "share of repeated rows", share=True, settings=True),
    "verified_share": _Rule("difference", "share of verified purchases", share=True, settings=True),
    "top_item_share": _Rule("difference", "share of the top item", share=True, settings=True),
    "new_item_share": _Rule("difference", "share of new items", share=True, settings=True),
    "gap_days": _Rule("difference", "longest gap in days"),
    "busiest_day": _Rule("level", "busiest day over the usual one"),
    "lag_days": _Rule("level", "days without data before the snapshot's date"),
}

# Settings that change no row.
_NEUTRAL = frozenset({"engine", "duckdb_up_to_gib", "duckdb_up_to_lines", "bad_line_budget"})

# 0.05 + 0.1 is 0.15000000000000002 in floating point and still the 15 points that are allowed.
_ROUNDING = 9


@dataclass(frozen=True)
class Check:
    """Hold the outcome of one check.

    Attributes:
        name: as in ``Limits``.
        result: ``pass``, ``warn``, ``block``, or ``not_compared``.
        kind: what is held against the ranges: see ``_Rule.kind``.
        measured: the value now.
        previous: the value of the previous run.
        compared: the number that is held against the ranges.
        warn: the range outside of which it warns.
        block: the range outside of which it blocks.
        sentence: all of it in words.
    """

    name: str
    result: Result
    kind: Kind
    measured: float | None
    previous: float | None
    compared: float | None
    warn: Range
    block: Range
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return {**asdict(self), "warn": list(self.warn), "block": list(self.block)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Check:
        """Parse a stored document; a missing or unknown key raises TypeError or KeyError."""
        warn, block = tuple(document["warn"]), tuple(document["block"])
        return cls(**{**document, "warn": warn, "block": block})


def check(name: str, now: Measures, before: Measures | None, limits: Limits) -> Check:
    """Apply one check.

    Args:
        name: of ``RULES``.
        now: of this run.
        before: of the previous run; None when there is none.
        limits: the ranges.
    """
    rule = RULES[name]
    warn, block = limits.of(name)
    value, old = now.values[name], before.values[name] if before else None
    compared = _compared(rule.kind, value, old)
    unable = _unable(rule, now, before, compared)
    if unable or compared is None:
        sentence = f"{rule.label}: {_show(rule, value)}; {unable}"
        return Check(name, "not_compared", rule.kind, value, old, None, warn, block, sentence)
    result: Result = "pass"
    if not allows(block, compared):
        result = "block"
    elif not allows(warn, compared):
        result = "warn"
    allowed = block if result == "block" else warn
    sentence = f"{rule.label}: {_show(rule, value)}{_place(name, now)}"
    if rule.kind != "level":
        sentence += f", before {_show(rule, old)} ({_change(rule, compared)})"
    sentence += f"; allowed {_range(rule, allowed)}"
    return Check(name, result, rule.kind, value, old, compared, warn, block, sentence)


def _compared(kind: Kind, value: float | None, old: float | None) -> float | None:
    if value is None:
        return None
    if kind == "level":
        return value
    if old is None or (kind == "relative" and not old):
        return None
    return round(value / old - 1 if kind == "relative" else value - old, _ROUNDING)


def _unable(
    rule: _Rule, now: Measures, before: Measures | None, compared: float | None
) -> str | None:
    if rule.kind != "level":
        if before is None:
            return "no previous run to compare with"
        if rule.settings and not _same_settings(now, before):
            return "not compared: the settings of preprocessing have changed"
    return None if compared is not None else "not compared: it cannot be told here"


def _same_settings(now: Measures, before: Measures) -> bool:
    names = (now.settings.keys() | before.settings.keys()) - _NEUTRAL
    return all(now.settings.get(name) == before.settings.get(name) for name in names)


def _place(name: str, now: Measures) -> str:
    place = {"gap_days": now.gap, "busiest_day": now.busiest}.get(name)
    return f" ({place})" if place else ""


def _show(rule: _Rule, value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2%}" if rule.share else f"{round(value, 2):,}"


def _change(rule: _Rule, value: float) -> str:
    if rule.kind == "relative":
        return f"{value:+.1%}"
    return f"{value * 100:+.2f} points" if rule.share else f"{value:+g}"


def _range(rule: _Rule, allowed: Range) -> str:
    low, high = allowed
    if low is not None and high is not None:
        return f"{_end(rule, low)} to {_end(rule, high)}"
    if high is not None:
        return f"at most {_end(rule, high)}"
    return "anything" if low is None else f"at least {_end(rule, low)}"


def _end(rule: _Rule, value: float) -> str:
    return f"{value:g}" if rule.kind == "level" else _change(rule, value)

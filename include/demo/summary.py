"""Tell a person what a run did: rows, models, rules, places, times, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recommender.gate import Decision

_METRICS = ("recall", "ndcg", "map", "hit_rate", "coverage")


def rows(profile: Mapping[str, Any]) -> str:
    """Return the rows at every stage, raw to train."""
    lines = [f"  {stage['stage']:<34} {stage['rows']:>12,}" for stage in profile["stages"]]
    lines.append(f"  {'users x items':<34} {profile['users']:>12,} x {profile['items']:,}")
    return "\n".join(lines)


def models(report: Mapping[str, Any]) -> str:
    """Return the models beside each other, the best Recall@K first, with their intervals."""
    k = report["k"]
    head = [f"recall@{k}", "interval", *(f"{name}@{k}" for name in _METRICS[1:4]), "coverage"]
    table = [("model", *head)]
    for name, values in sorted(report["models"].items(), key=lambda item: -item[1]["recall"]):
        low, high = values["recall_ci"]
        numbers = [f"{values[metric]:.4f}" for metric in _METRICS]
        table.append((name, numbers[0], f"[{low:.4f}, {high:.4f}]", *numbers[1:]))
    lines = [_aligned(table)]
    lines += [
        f"  {c['candidate']} - {c['baseline']}: {c['difference']:+.4f} "
        f"({c['relative']:+.1%}), interval [{c['ci_low']:+.4f}, {c['ci_high']:+.4f}]"
        for c in report["comparisons"]
    ]
    return "\n".join(lines)


def stages(seconds: Sequence[tuple[str, float]]) -> str:
    """Return the wall time of every stage."""
    lines = [f"  {name:<34} {value:>10.1f} s" for name, value in seconds]
    lines.append(f"  {'in all':<34} {sum(value for _, value in seconds):>10.1f} s")
    return "\n".join(lines)


def verdict(decision: Decision, version: str | None) -> str:
    """Return the last line: what became of the candidate."""
    if decision.verdict == "refused":
        first = next(rule for rule in decision.rules if not rule.passed)
        return f"verdict: refused ({first.sentence})"
    return f"verdict: {decision.verdict} {version}"


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  "
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in table
    )

"""Lay out what the gate said, what the run has cost and where everything comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recommender.gate import CANDIDATE, Decision
from recommender.gate.decision import cell
from recommender.gate.policy import CHAMPION
from recommender.reporting import wording as w
from recommender.reporting.material import Material
from recommender.reporting.wording import Absent

_MEANING = {
    "promoted": "This model is the champion from now on.",
    "registered": "The version is kept; the newer champion stays.",
    "refused": "Nothing changes: the champion stays, and this model is not published.",
}
_NOT_PUBLISHED = (
    "It has not been published: the log of the task publish says why. The champion stays."
)
_NOT_CHAMPION = (
    "The version is kept, but has not become the champion: the log of the task publish says why."
)


def headline(material: Material) -> dict[str, Any]:
    """Return the top of the page: the verdict, its reason, the numbers that carry it."""
    decision = material.decision
    attempt = decision.attempt
    return {
        "verdict": decision.verdict,
        "acts": decision.acts,
        "headline": decision.headline,
        "meaning": _meaning(material),
        "reason": decision.reason,
        "facts": [
            ("recommender", attempt.recommender),
            ("snapshot", attempt.snapshot.isoformat()),
            ("run", attempt.run_key),
            ("decided", attempt.decided_at.strftime("%Y-%m-%d %H:%M UTC")),
            ("version", material.published or "none published"),
            ("champion before", decision.champion.version if decision.champion else "none"),
        ],
        "tiles": list(_tiles(decision)),
        "recommender": attempt.recommender,
        "snapshot": attempt.snapshot.isoformat(),
    }


def _meaning(material: Material) -> str:
    """Say what follows from the verdict, by what has been done and not by what was decided."""
    decision = material.decision
    if decision.policy.mode == "shadow":
        return "Shadow mode: the gate only watches, and nothing is published."
    if decision.awaits_answer:
        return "A person is asked before it becomes the champion."
    if decision.acts and material.published is None:
        return _NOT_PUBLISHED
    if decision.verdict == "promoted" and not material.became_champion:
        return _NOT_CHAMPION
    return _MEANING[decision.verdict]


def _tiles(decision: Decision) -> Iterator[tuple[str, str, str]]:
    """Yield (label, number, small print) of the few numbers that carry the verdict."""
    evidence = decision.evidence
    if evidence is None:
        return
    mine = evidence.recall[CANDIDATE]
    yield f"Recall@{evidence.k}", w.number(mine), f"{evidence.users:,} users"
    strongest = max(decision.policy.baselines, key=lambda name: evidence.recall[name])
    other = evidence.recall[strongest]
    yield "against the strongest baseline", w.change(mine, other), f"{strongest} {other:.4f}"
    if evidence.champion is not None:
        theirs = evidence.recall[CHAMPION]
        yield "against the champion", w.change(mine, theirs), f"{decision.standing}, {theirs:.4f}"
    yield "catalogue shown", w.percent(evidence.coverage), "share of items in some list"


def rules(material: Material) -> dict[str, Any]:
    """Return every rule with what it asked and what it found."""
    return {
        "rows": [
            {
                "name": w.rule(rule.name),
                "id": rule.name,
                "result": rule.result,
                "measured": cell(rule.measured),
                "asked": cell(rule.threshold),
                "sentence": rule.sentence,
            }
            for rule in material.decision.rules
        ],
    }


def cost(material: Material) -> dict[str, Any]:
    """Return what every stage has cost, and the sum where every part of it is known."""
    stages = material.decision.attempt.costs
    if not stages:
        message = "The decision's record has no cost of this run."
        raise Absent(message)
    known = [stage.usd for stage in stages if stage.usd is not None]
    return {
        "rows": [
            (stage.stage, _usd(stage.usd), f"{stage.instance_hours:.2f}", ", ".join(stage.unknown))
            for stage in stages
        ],
        "total": _usd(sum(known)) if len(known) == len(stages) else "not known",
        "as_of": stages[0].prices_as_of,
        "simulated": any(stage.simulated for stage in stages),
    }


def _usd(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"


def lineage(material: Material) -> dict[str, Any]:
    """Return the facts by which the run can be repeated, and where its files are."""
    found = (material.report or {}).get("lineage")
    rows = list(_flat(found)) if isinstance(found, Mapping) else []
    if not rows and not material.places:
        message = "The report has no lineage."
        raise Absent(message)
    short = [row for row in rows if row[0].startswith(_FIRST) or "." not in row[0]]
    return {
        "rows": short,
        "more": [row for row in rows if row not in short],
        "places": list(material.places.items()),
    }


_FIRST = ("dataset.", "candidate.sha256", "candidate.uri", "champion.", "versions.")


def _flat(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list):
            if not any(isinstance(one, Mapping) for one in value):  # a course: it is drawn above
                yield name, ", ".join(map(str, value))
        elif value is not None:
            yield name, str(value)

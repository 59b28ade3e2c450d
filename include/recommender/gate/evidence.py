"""Read a report strictly: every number that a rule uses is there, finite, in range and consistent.

A report comes from another program on another machine, so nothing in it is taken on trust; the
first thing that is wrong is said in one sentence.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from recommender.gate.document import (
    TOLERANCE,
    Node,
    refuse,
    refuse_unstorable,
)
from recommender.gate.groups import Group, read_cohorts, read_item_groups, read_overlap
from recommender.gate.policy import CANDIDATE, CHAMPION, Policy

METRIC = "recall"
_SHARES = ("recall", "ndcg", "map", "hit_rate", "coverage")


@dataclass(frozen=True)
class Gain:
    """Compare the candidate's Recall@K with another model's, paired by user.

    Attributes:
        difference: candidate minus other.
        relative: the difference as a share of the other's recall; None when that is zero.
        ci_low: lower end of the bootstrap interval of the difference.
        ci_high: its upper end.
    """

    difference: float
    relative: float | None
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Evidence:
    """Hold what the rules use of a report.

    Attributes:
        k: length of the lists.
        users: users measured.
        held_out: held-out interactions measured.
        recall: Recall@K of each model, the candidate and any champion among them.
        coverage: share of the catalogue in the candidate's lists.
        gains: the candidate against each declared baseline and any champion.
        candidate_sha256: SHA-256 of the measured candidate's ``manifest.json``.
        champion: version of the champion that was scored again; None when there was none.
        champion_saw_held_out: whether that champion was trained on some of the held-out rows.
        cohorts: light, medium and heavy users; empty when no rule asks for them.
        items: head and tail items; empty when no rule asks for them.
        overlap: mean share of the candidate's lists that the champion's have, too; None when no
            rule asks, there is no champion, or the report does not say.
    """

    k: int
    users: int
    held_out: int
    recall: dict[str, float]
    coverage: float
    gains: dict[str, Gain]
    candidate_sha256: str
    champion: str | None
    champion_saw_held_out: bool
    cohorts: dict[str, Group] = field(default_factory=dict)
    items: dict[str, Group] = field(default_factory=dict)
    overlap: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evidence:
        """Parse a stored document; a missing or unknown key raises TypeError or KeyError."""
        gains = {name: Gain(**gain) for name, gain in document["gains"].items()}
        groups = {
            key: {name: Group(**group) for name, group in document.get(key, {}).items()}
            for key in ("cohorts", "items")
        }
        return cls(**{**document, "gains": gains, **groups})


def read_evidence(report: object, policy: Policy, k: int) -> Evidence:
    """Check a report and take from it what the rules use.

    Args:
        report: the parsed ``report.json``; may be anything.
        policy: names the baselines that have to be there.
        k: the length of list that the configuration asks for.

    Raises:
        MalformedReportError: something is missing, not finite, out of range or contradictory.
    """
    refuse_unstorable(report)
    root = Node(report, "")
    found_k = root["k"].count()
    if found_k != k:
        refuse(f"it measures lists of {found_k} items, the configuration asks for {k}")
    population = root["population"]
    users, held_out = population["users"].count(), population["held_out"].count()
    if held_out < users:
        # Every measured user has a held-out item, so fewer rows than users is a wrong count.
        refuse(f"population.held_out is {held_out}, fewer than the {users} users")
    models = {name: _scores(node) for name, node in root["models"].items()}
    champion, saw_held_out = _champion(root, scored=CHAMPION in models)
    rivals = [*policy.baselines, *([CHAMPION] if champion else [])]
    for name in (CANDIDATE, *rivals):
        if name not in models:
            refuse(f"models.{name} is missing")
    recall = {name: scores["recall"] for name, scores in models.items()}
    gains = _gains(root["comparisons"], recall)
    for name in rivals:
        if name not in gains:
            refuse(f"comparisons has no {METRIC} of {CANDIDATE} against {name}")
    needed = [CANDIDATE, *rivals]
    return Evidence(
        k=k,
        users=users,
        held_out=held_out,
        recall=recall,
        coverage=models[CANDIDATE]["coverage"],
        gains={name: gains[name] for name in rivals},
        candidate_sha256=root["lineage"]["candidate"]["sha256"].text(),
        champion=champion,
        champion_saw_held_out=saw_held_out,
        cohorts={}
        if policy.max_cohort_drop is None
        else read_cohorts(root, {name: recall[name] for name in needed}, users),
        items={} if policy.max_item_drop is None else read_item_groups(root, needed, held_out),
        overlap=read_overlap(root, policy.overlap_action) if champion else None,
    )


def _scores(model: Node) -> dict[str, float]:
    scores = {name: model[name].number(0, 1) for name in _SHARES}
    if scores["recall"] > scores["hit_rate"] + TOLERANCE:
        # A user's recall is at most 1, and 0 without a hit: two columns have changed places.
        refuse(
            f"{model.path}.recall {scores['recall']:g} is above its hit_rate "
            f"{scores['hit_rate']:g}, which cannot be"
        )
    _interval(model["recall_ci"], scores["recall"])
    return scores


def _interval(node: Node, mean: float) -> None:
    """Check the ends, and that the interval belongs to this number and not to another column."""
    ends = [end.number(0, 1) for end in node.entries()]
    if len(ends) != 2 or ends[0] > ends[1]:
        node.expected("a lower and an upper end")
    if not _near(mean, ends[0], ends[1]):
        refuse(f"{node.path} [{ends[0]:g}, {ends[1]:g}] lies far from the recall {mean:g}")


def _near(mean: float, low: float, high: float) -> bool:
    """Tell whether a mean can have this interval: a skewed one may miss it, by no more than its width."""
    slack = high - low + TOLERANCE
    return low - slack <= mean <= high + slack


def _champion(root: Node, *, scored: bool) -> tuple[str | None, bool]:
    """Read which champion was scored again; its name and its scores come together or not at all."""
    champion = root["lineage"]["champion"]
    if (champion.value is not None) != scored:
        there, absent = ("models", "lineage") if scored else ("lineage", "models")
        refuse(f"the champion is in {there} but not in {absent}")
    if champion.value is None:
        return None, False
    return champion["version"].text(), champion["saw_held_out"].flag()


def _gains(comparisons: Node, recall: Mapping[str, float]) -> dict[str, Gain]:
    gains: dict[str, Gain] = {}
    for entry in comparisons.entries():
        candidate, baseline = entry["candidate"].text(), entry["baseline"].text()
        if (candidate, entry["metric"].text()) != (CANDIDATE, METRIC):
            continue
        if baseline in gains:
            refuse(f"{entry.path} compares {CANDIDATE} with {baseline} a second time")
        if baseline not in recall:
            refuse(f"{entry.path} compares with {baseline}, which is not among the models")
        gains[baseline] = _gain(entry, recall[CANDIDATE], recall[baseline])
    return gains


def _gain(entry: Node, candidate: float, baseline: float) -> Gain:
    gain = Gain(
        difference=entry["difference"].number(-1, 1),
        relative=_relative(entry["relative"], baseline),
        ci_low=entry["ci_low"].number(-1, 1),
        ci_high=entry["ci_high"].number(-1, 1),
    )
    if gain.ci_low > gain.ci_high:
        refuse(f"{entry.path}: ci_low {gain.ci_low:g} is above ci_high {gain.ci_high:g}")
    if not _near(gain.difference, gain.ci_low, gain.ci_high):
        refuse(
            f"{entry.path}: the interval [{gain.ci_low:g}, {gain.ci_high:g}] lies far from the "
            f"difference {gain.difference:g}"
        )
    if abs(gain.difference - (candidate - baseline)) > TOLERANCE:
        refuse(
            f"{entry.path}.difference is {gain.difference:g}, the models' recalls differ by "
            f"{candidate - baseline:g}"
        )
    exact = gain.difference / baseline if baseline else None
    if gain.relative is not None and not math.isclose(
        gain.relative, exact or 0.0, rel_tol=1e-6, abs_tol=TOLERANCE
    ):
        refuse(f"{entry.path}.relative is {gain.relative:g}, the difference gives {exact:g}")
    return gain


def _relative(node: Node, baseline: float) -> float | None:
    """Read a relative gain: null exactly when the baseline found nothing."""
    if baseline == 0:
        if node.value is not None:
            node.expected("null, as the baseline's recall is 0,")
        return None
    return node.number(-1, sys.float_info.max)

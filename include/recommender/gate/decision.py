"""Judge a report under a policy and keep the verdict with everything that led to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from recommender.gate import rules as r
from recommender.gate.document import MalformedReportError
from recommender.gate.evidence import Evidence, read_evidence
from recommender.gate.policy import Policy
from recommender.gate.records import FORMAT, Attempt, ChampionRef, Rule, StageCost

Verdict = Literal["promoted", "registered", "refused"]


@dataclass(frozen=True)
class Decision:
    """Hold a verdict and all that led to it; ``to_json`` and ``from_json`` lose nothing.

    Attributes:
        attempt: what was judged.
        policy: what was asked.
        champion: the champion at that moment; None before the first.
        evidence: what the report showed; None when it was malformed.
        rules: the outcome of every rule, in the order in which they count.
        verdict: ``promoted`` (publish and move the pointer), ``registered`` (publish, leave the
            pointer) or ``refused`` (publish nothing).
        reason: the verdict in one sentence.
    """

    attempt: Attempt
    policy: Policy
    champion: ChampionRef | None
    evidence: Evidence | None
    rules: tuple[Rule, ...]
    verdict: Verdict
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored: JSON values only."""
        return {
            "format": FORMAT,
            "recommender": self.attempt.recommender,
            "snapshot": self.attempt.snapshot.isoformat(),
            "run_key": self.attempt.run_key,
            "k": self.attempt.k,
            "decided_at": self.attempt.decided_at.astimezone(dt.UTC).isoformat(),
            "allow_replace_newer": self.attempt.allow_replace_newer,
            "verdict": self.verdict,
            "reason": self.reason,
            "cost": _cost(self.attempt.costs),
            "rules": [rule.to_json() for rule in self.rules],
            "policy": {**asdict(self.policy), "baselines": list(self.policy.baselines)},
            "champion": self.champion.to_json() if self.champion else None,
            "evidence": self.evidence.to_json() if self.evidence else None,
        }

    @classmethod
    def from_json(cls, document: Any) -> Decision:  # noqa: ANN401 - read from outside
        """Parse a stored document.

        Raises:
            ValueError: it is of another format or malformed.
        """
        try:
            return cls._parse(document)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            message = f"this is not a decision record: {error!r}"
            raise ValueError(message) from error

    @classmethod
    def _parse(cls, document: Mapping[str, Any]) -> Decision:
        if document["format"] != FORMAT or document["verdict"] not in get_args(Verdict):
            message = f"format {document['format']!r}, verdict {document['verdict']!r}"
            raise ValueError(message)
        policy = document["policy"]
        champion, evidence = document["champion"], document["evidence"]
        return cls(
            attempt=Attempt(
                recommender=document["recommender"],
                snapshot=dt.date.fromisoformat(document["snapshot"]),
                run_key=document["run_key"],
                k=document["k"],
                decided_at=dt.datetime.fromisoformat(document["decided_at"]),
                allow_replace_newer=document["allow_replace_newer"],
                # Records of before costs were kept have no such section.
                costs=tuple(map(StageCost.from_json, document.get("cost", {}).get("stages", ()))),
            ),
            policy=Policy(**{**policy, "baselines": tuple(policy["baselines"])}),
            champion=None if champion is None else ChampionRef.from_json(champion),
            evidence=None if evidence is None else Evidence.from_json(evidence),
            rules=tuple(Rule.from_json(rule) for rule in document["rules"]),
            verdict=document["verdict"],
            reason=document["reason"],
        )

    def table(self) -> str:
        """Return the rules as an aligned text table, one a line, then the reason."""
        rows = [("rule", "result", "measured", "threshold", "")]
        for rule in self.rules:
            result = "pass" if rule.passed else "FAIL" if rule.quality else "hold"
            numbers = _cell(rule.measured), _cell(rule.threshold)
            rows.append((rule.name, result, *numbers, rule.sentence))
        w = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            f"{row[0]:<{w[0]}}  {row[1]:<{w[1]}}  {row[2]:>{w[2]}}  {row[3]:>{w[3]}}  {row[4]}".rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"{self.verdict}: {self.reason}"])


def decide(
    report: object, policy: Policy, attempt: Attempt, champion: ChampionRef | None
) -> Decision:
    """Judge a candidate by its report; the same input gives the same decision.

    Bad content never raises: a report that is malformed refuses. A report that is not there is
    the caller's error, not a verdict.

    Args:
        report: the parsed ``report.json`` of the evaluation.
        policy: what is asked.
        attempt: what is judged.
        champion: the champion as read just before; ``registry.publish`` moves the pointer only
            if it is still this one.

    Returns:
        The decision: ``refused`` by the first quality rule that fails; else ``registered`` when
        the snapshot is older than the champion's; else ``promoted``.
    """
    try:
        evidence = read_evidence(report, policy, attempt.k)
    except MalformedReportError as error:
        outcomes = (*r.unmeasured(str(error), policy), r.in_order(attempt, champion))
        reason = outcomes[0].sentence
        return Decision(attempt, policy, champion, None, outcomes, "refused", reason)
    outcomes = (
        r.well_formed(evidence),
        r.enough_users(evidence, policy),
        r.enough_held_out(evidence, policy),
        r.beats_baseline(evidence, policy),
        r.gain_is_certain(evidence, policy),
        r.holds_against_champion(evidence, policy, attempt, champion),
        r.covers_catalogue(evidence, policy),
        r.in_order(attempt, champion),
    )
    verdict, reason = _verdict(outcomes)
    return Decision(attempt, policy, champion, evidence, outcomes, verdict, reason)


def _verdict(outcomes: tuple[Rule, ...]) -> tuple[Verdict, str]:
    failed = [rule for rule in outcomes if not rule.passed]
    refusals = [rule for rule in failed if rule.quality]
    if refusals:
        return "refused", refusals[0].sentence
    if failed:
        return "registered", failed[0].sentence
    uplift = next(rule for rule in outcomes if rule.name == r.UPLIFT)
    return "promoted", f"All {len(outcomes)} rules pass. {uplift.sentence}"


def _cost(stages: tuple[StageCost, ...]) -> dict[str, Any]:
    """Return the sum, null when a part of it is not known or nothing was told, and its parts."""
    known = [stage.usd for stage in stages if stage.usd is not None]
    usd = sum(known) if known and len(known) == len(stages) else None
    return {"usd": usd, "stages": [stage.to_json() for stage in stages]}


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"

"""Judge a report under a policy and keep the verdict with everything that led to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from recommender.gate import guardrails
from recommender.gate import rules as r
from recommender.gate.document import MalformedReportError
from recommender.gate.evidence import Evidence, read_evidence
from recommender.gate.policy import Policy
from recommender.gate.records import FORMAT, Answer, Attempt, ChampionRef, Rule, StageCost, Window
from recommender.gate.serving import Verification, serves_as_measured

APPROVAL = "approved_by_a_person"
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
        answer: what a person said to the promotion; None when nobody was asked.
        verification: what came of loading the candidate and asking it again; None in records of
            before that was done, and nothing is published without.
    """

    attempt: Attempt
    policy: Policy
    champion: ChampionRef | None
    evidence: Evidence | None
    rules: tuple[Rule, ...]
    verdict: Verdict
    reason: str
    answer: Answer | None = None
    verification: Verification | None = None

    @property
    def acts(self) -> bool:
        """Tell whether anything is published: never in shadow mode, never before a yes asked for."""
        return (
            self.policy.mode == "enforce" and self.verdict != "refused" and not self.awaits_answer
        )

    @property
    def awaits_answer(self) -> bool:
        """Tell whether a person has to be asked before this promotion."""
        asked = self.policy.approval and self.policy.mode == "enforce"
        return asked and self.verdict == "promoted" and self.answer is None

    @property
    def stale(self) -> bool:
        """Tell whether the candidate has to be measured again: the champion is another by now."""
        return self.evidence is not None and r.is_stale(self.evidence, self.attempt, self.champion)

    @property
    def standing(self) -> r.Standing:
        """Say how the candidate stands to the champion it was measured against."""
        return "no champion" if self.evidence is None else r.standing(self.evidence)

    def answered(self, answer: Answer) -> Decision:
        """Return the decision with a person's answer: a no, or silence, refuses."""
        rule = _approval(answer, self.policy)
        rules = (*self.rules, rule)
        if answer.approved:
            return replace(self, rules=rules, answer=answer)
        return replace(self, rules=rules, answer=answer, verdict="refused", reason=rule.sentence)

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
            "mode": self.policy.mode,
            "acts": self.acts,
            "standing": self.standing,
            "approval": self.answer.to_json() if self.answer else None,
            "stability": [window.to_json() for window in self.attempt.history],
            "cost": _cost(self.attempt.costs),
            "rules": [rule.to_json() for rule in self.rules],
            "policy": {**asdict(self.policy), "baselines": list(self.policy.baselines)},
            "champion": self.champion.to_json() if self.champion else None,
            "evidence": self.evidence.to_json() if self.evidence else None,
            "verification": self.verification.to_json() if self.verification else None,
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
        champion, evidence = document["champion"], document["evidence"]
        answer, loaded = document.get("approval"), document.get("verification")
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
                history=tuple(map(Window.from_json, document.get("stability", ()))),
            ),
            policy=_policy(document["policy"]),
            champion=None if champion is None else ChampionRef.from_json(champion),
            evidence=None if evidence is None else Evidence.from_json(evidence),
            rules=tuple(Rule.from_json(rule) for rule in document["rules"]),
            verdict=document["verdict"],
            reason=document["reason"],
            answer=None if answer is None else Answer.from_json(answer),
            verification=None if loaded is None else Verification.from_json(loaded),
        )

    def table(self) -> str:
        """Return the rules as an aligned text table, one a line, then the reason."""
        rows = [("rule", "result", "measured", "threshold", "")]
        for rule in self.rules:
            numbers = cell(rule.measured), cell(rule.threshold)
            rows.append((rule.name, rule.result, *numbers, rule.sentence))
        w = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            f"{row[0]:<{w[0]}}  {row[1]:<{w[1]}}  {row[2]:>{w[2]}}  {row[3]:>{w[3]}}  {row[4]}".rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"{self.headline}: {self.reason}"])

    @property
    def headline(self) -> str:
        """Return the verdict for a person, and why nothing may follow from it."""
        if self.policy.mode == "shadow":
            return f"{self.verdict} (shadow: nothing is published)"
        if self.awaits_answer:
            return f"{self.verdict} (once approved)"
        return self.verdict


def decide(
    report: object,
    policy: Policy,
    attempt: Attempt,
    champion: ChampionRef | None,
    verification: Verification | None = None,
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
        verification: what came of loading the candidate and asking it again; without one there
            is a verdict, but nothing is published by it.

    Returns:
        The decision: ``refused`` by the first quality rule that fails; else ``registered`` when
        the snapshot is older than the champion's; else ``promoted``.
    """
    try:
        evidence = read_evidence(report, policy, attempt.k)
    except MalformedReportError as error:
        unmeasured = r.unmeasured(str(error), policy, guardrails.asked(policy))
        outcomes = (*unmeasured, r.in_order(attempt, champion))
        reason = outcomes[0].sentence
        return Decision(attempt, policy, champion, None, outcomes, "refused", reason)
    win = r.beats_baseline(evidence, policy), r.gain_is_certain(evidence, policy)
    outcomes = (
        r.well_formed(evidence),
        r.enough_users(evidence, policy),
        r.enough_held_out(evidence, policy),
        *win,
        r.holds_against_champion(evidence, policy, attempt, champion),
        r.covers_catalogue(evidence, policy),
        *([serves_as_measured(evidence, verification)] if verification else []),
        *guardrails.apply(
            evidence,
            policy,
            attempt,
            excused=r.is_excused(evidence, attempt, champion),
            won=all(rule.passed for rule in win),
        ),
        r.in_order(attempt, champion),
    )
    verdict, reason = _verdict(outcomes, r.standing(evidence))
    return Decision(
        attempt, policy, champion, evidence, outcomes, verdict, reason, verification=verification
    )


def _verdict(outcomes: tuple[Rule, ...], standing: r.Standing) -> tuple[Verdict, str]:
    failed = [rule for rule in outcomes if not rule.passed and not rule.advisory]
    refusals = [rule for rule in failed if rule.quality]
    if refusals:
        return "refused", refusals[0].sentence
    if failed:
        return "registered", failed[0].sentence
    uplift = next(rule for rule in outcomes if rule.name == r.UPLIFT)
    passed = sum(rule.passed for rule in outcomes)
    parts = [f"All {passed} rules pass." if passed == len(outcomes) else f"{passed} rules pass."]
    parts += [f"Warning: {rule.sentence}" for rule in outcomes if not rule.passed]
    return "promoted", " ".join([*parts, uplift.sentence, _AGAINST[standing]]).rstrip()


_AGAINST = {
    "no champion": "",
    "better": "It is better than the champion.",
    "as good": "It is as good as the champion, not better.",
    "worse": "It is worse than the champion, within what is tolerated.",
}


def _approval(answer: Answer, policy: Policy) -> Rule:
    """State what a person said as a rule of quality, with who and when."""
    who = f"{answer.by} at {answer.at}" if answer.by else f"the time limit at {answer.at}"
    if answer.approved:
        sentence = f"Approved by {who}."
    elif answer.by:
        sentence = f"Rejected by {who}."
    else:
        sentence = f"Nobody answered within {policy.approval_hours:g} hours: refused by {who}."
    return Rule(APPROVAL, None, answer.by, answer.approved, sentence)


def _policy(document: Mapping[str, Any]) -> Policy:
    """Parse a stored policy; what an older record does not name was not asked of it."""
    not_asked = {
        "champion_doubt": 0.0,
        "max_cohort_drop": None,
        "max_item_drop": None,
        "overlap_action": "off",
    }
    return Policy(**{**not_asked, **document, "baselines": tuple(document["baselines"])})


def _cost(stages: tuple[StageCost, ...]) -> dict[str, Any]:
    """Return the sum, null when a part of it is not known or nothing was told, and its parts."""
    known = [stage.usd for stage in stages if stage.usd is not None]
    usd = sum(known) if known and len(known) == len(stages) else None
    return {"usd": usd, "stages": [stage.to_json() for stage in stages]}


def cell(value: float | str | None) -> str:
    """Return a measured value or a threshold as a table shows it."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"

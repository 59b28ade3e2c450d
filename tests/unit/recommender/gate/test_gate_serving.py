"""Nothing is published that was not loaded and asked again, or that did not serve as measured."""

from __future__ import annotations

import json
from typing import Any

import gate_reports
import pytest

from recommender.gate import Decision, Policy, Verification, decide
from recommender.gate.serving import SERVES

REPORT = gate_reports.make_report()
CANDIDATE = REPORT["lineage"]["candidate"]["sha256"]


def verification(**changes: Any) -> Verification:
    document = {
        "candidate_sha256": CANDIDATE,
        "users": 200,
        "p99_ms": 0.31,
        "load_seconds": 2.0,
        "memory_mb": 140.0,
        "findings": [],
        "passed": not changes.get("findings"),
    }
    return Verification.from_json({**document, **changes})


def judge(found: Verification | None) -> Decision:
    return decide(REPORT, Policy(), gate_reports.attempt(), None, found)


def test_a_candidate_that_serves_as_measured_is_promoted_and_the_record_says_how() -> None:
    decision = judge(verification())
    assert decision.verdict == "promoted", decision.reason
    rule = next(rule for rule in decision.rules if rule.name == SERVES)
    assert (rule.passed, rule.measured) == (True, 0.31)
    assert "200 users the measured lists: 99 % of answers within 0.31 ms, 140 MB" in rule.sentence
    stored = json.loads(json.dumps(decision.to_json()))
    assert Decision.from_json(stored) == decision


def test_a_limit_that_is_not_met_refuses_in_its_own_words() -> None:
    sentence = "Loading takes 400.0 s; at most 300.0 are allowed."
    decision = judge(verification(findings=[sentence]))
    assert (decision.verdict, decision.reason) == ("refused", sentence)


def test_the_verification_of_another_candidate_refuses() -> None:
    decision = judge(verification(candidate_sha256="ab" * 32))
    assert decision.verdict == "refused"
    assert "was loaded and asked" in decision.reason


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"p99_ms": float("nan")}, "p99_ms is nan"),
        ({"users": -1}, "users should be a whole number"),
        ({"passed": True, "findings": ["Loading takes long."]}, "passed is True, with 1 findings"),
        ({"passed": False}, "passed is False, with 0 findings"),
        ({"memory_mb": None}, "memory_mb should be a number"),
    ],
)
def test_a_malformed_verification_is_no_verification(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        verification(**changes)

"""Decide whether a candidate may replace the champion. Standard library only."""

from recommender.gate.decision import Decision, Verdict, decide
from recommender.gate.document import MalformedReportError
from recommender.gate.evidence import Evidence, read_evidence
from recommender.gate.policy import CANDIDATE, Policy
from recommender.gate.records import Attempt, ChampionRef, Rule, StageCost

__all__ = [
    "CANDIDATE",
    "Attempt",
    "ChampionRef",
    "Decision",
    "Evidence",
    "MalformedReportError",
    "Policy",
    "Rule",
    "StageCost",
    "Verdict",
    "decide",
    "read_evidence",
]

"""Decide whether a candidate may replace the champion. Standard library only."""

from recommender.gate.decision import Decision, Verdict, decide
from recommender.gate.document import MalformedReportError
from recommender.gate.evidence import Evidence, read_evidence
from recommender.gate.policy import CANDIDATE, Policy
from recommender.gate.records import Answer, Attempt, ChampionRef, Change, Rule, StageCost, Window
from recommender.gate.rules import WIN
from recommender.gate.serving import Verification

__all__ = [
    "CANDIDATE",
    "WIN",
    "Answer",
    "Attempt",
    "ChampionRef",
    "Change",
    "Decision",
    "Evidence",
    "MalformedReportError",
    "Policy",
    "Rule",
    "StageCost",
    "Verdict",
    "Verification",
    "Window",
    "decide",
    "read_evidence",
]

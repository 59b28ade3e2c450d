"""Compare a dataset's profile with the previous run's before training. Standard library only."""

from recommender.checks.limits import Limits
from recommender.checks.measures import MalformedProfileError, Measures, read_measures
from recommender.checks.rules import Check, check
from recommender.checks.verdict import Previous, Verdict, judge

__all__ = [
    "Check",
    "Limits",
    "MalformedProfileError",
    "Measures",
    "Previous",
    "Verdict",
    "check",
    "judge",
    "read_measures",
]

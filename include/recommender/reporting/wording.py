"""Write numbers and names as a person reads them."""

from __future__ import annotations

from recommender.gate import CANDIDATE
from recommender.gate.policy import CHAMPION

RULES = {
    "report_well_formed": "The report is complete and consistent",
    "enough_users": "Enough users measured",
    "enough_held_out": "Enough held-out interactions",
    "beats_baseline": "Beats the strongest baseline",
    "gain_is_certain": "The gain is no chance",
    "holds_against_champion": "Holds against the champion",
    "covers_catalogue": "Shows enough of the catalogue",
    "spares_cohorts": "No cohort of users pays for it",
    "spares_head_and_tail": "Neither head nor tail items pay for it",
    "keeps_familiar_lists": "Lists stay familiar",
    "wins_every_window": "Wins every window asked for",
    "serves_as_measured": "Loaded again, it serves what was measured",
    "snapshot_in_order": "Not older than the champion's snapshot",
    "approved_by_a_person": "Approved by a person",
}
NOTHING = "-"


class Absent(Exception):  # noqa: N818 - no error: a part of the page that has nothing to show
    """Say in one sentence why a section is not there."""


def rule(name: str) -> str:
    """Return a rule's name for a person."""
    return RULES.get(name, name.replace("_", " "))


def role(model: str, baselines: tuple[str, ...]) -> str:
    """Say what a model is in this comparison."""
    if model == CANDIDATE:
        return "candidate"
    if model == CHAMPION:
        return "champion"
    return "baseline asked for" if model in baselines else "contender"


def number(value: float | None, digits: int = 4) -> str:
    """Write a metric, or a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share."""
    return NOTHING if value is None else f"{value:.{digits}%}"


def count(value: int | None) -> str:
    """Write a count with thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def change(now: float | None, before: float | None) -> str:
    """Write a relative change; a dash where one of the two is missing or zero."""
    if now is None or not before:
        return NOTHING
    return f"{now / before - 1:+.1%}"

"""Decide how a run chooses its setting: a wide search, a look around the kept one, or none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recommender import config
from recommender.training import kept_setting
from recommender.training.kept_setting import Question
from recommender.training.search import narrowed

_log = logging.getLogger(__name__)
WIDE, LOCAL, NONE = "wide", "local", "none"
_SPACE = ("alpha", "penalty", "factors", "half_life_days", "max_iterations")


@dataclass(frozen=True)
class Plan:
    """Say where and how long to search.

    Attributes:
        mode: ``wide``, ``local`` or ``none``.
        start: the first setting to try; with ``none`` the one to fit.
        space: ranges and budget.
        why: a sentence for the record.
    """

    mode: str
    start: config.Als
    space: config.Search
    why: str


def question(recommender: config.Recommender, fit_until: int) -> Question:
    """Return what a wide search of this configuration answers."""
    als, filtered = recommender.train.als, recommender.evaluate.filter_seen
    space: dict[str, Any] = {"user_balance": als.user_balance, "unobserved": als.unobserved}
    space["filter_seen"] = filtered
    if recommender.train.search is not None:
        searched = recommender.train.search.model_dump(mode="json")
        space |= {name: searched[name] for name in _SPACE}
    return Question(space, recommender.evaluate.k, fit_until)


def plan(
    recommender: config.Recommender,
    asked: Question,
    kept: Mapping[str, Any] | None,
    *,
    wide: bool,
) -> Plan:
    """Choose the cadence.

    Args:
        recommender: its configuration.
        asked: from ``question``.
        kept: what ``kept_setting.read`` found.
        wide: search widely, whatever is kept.
    """
    settings = recommender.train
    if settings.search is None:
        return Plan(NONE, settings.als, config.Search(), "train.search is null")
    why = "asked for" if wide else kept_setting.why_not(kept, asked, settings.search.every_days)
    if why is not None or kept is None:
        _log.info(f"wide search: {why}")
        return Plan(WIDE, settings.als, settings.search, str(why))
    setting = config.Als(**kept["setting"])
    _log.info(f"local search around the kept setting {setting}")
    return Plan(LOCAL, setting, narrowed(settings.search, setting), "the kept setting serves")

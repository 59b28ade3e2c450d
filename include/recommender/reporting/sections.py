"""Lay the material out in sections of plain values: what the template shows, in its order.

Every function takes the material and returns what its part of the template needs, or raises
``Absent`` with the sentence that stands there instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recommender.reporting import data_sections, model_sections, verdict_sections
from recommender.reporting.material import Material
from recommender.reporting.wording import Absent

_log = logging.getLogger(__name__)

Build = Callable[[Material], Mapping[str, Any]]


@dataclass(frozen=True)
class Section:
    """Hold one section of the page.

    Attributes:
        name: its anchor and the name of its template block.
        title: its heading.
        content: what the template shows; empty when there is nothing to show.
        absent: the sentence that stands there instead; empty when there is content.
    """

    name: str
    title: str
    content: Mapping[str, Any] = field(default_factory=dict)
    absent: str = ""


_SECTIONS: tuple[tuple[str, str, Build], ...] = (
    ("rules", "The gate's rules", verdict_sections.rules),
    ("leaderboard", "All models on the same users", model_sections.leaderboard),
    ("curves", "How long a list", model_sections.curves),
    ("groups", "For whom, and on which items", model_sections.groups),
    ("training", "Training", model_sections.training),
    ("overlap", "How much of the lists changes", model_sections.overlap),
    ("samples", "Ten users, before and after", model_sections.samples),
    ("data", "The data, against last time", data_sections.profile),
    ("checks", "Data checks", data_sections.checks),
    ("cost", "What it cost", verdict_sections.cost),
    ("lineage", "Where it comes from", verdict_sections.lineage),
)


def build(material: Material) -> list[Section]:
    """Return every section; one that cannot be laid out says so and spoils no other."""
    return [_section(name, title, make, material) for name, title, make in _SECTIONS]


def _section(name: str, title: str, make: Build, material: Material) -> Section:
    try:
        return Section(name, title, make(material))
    except Absent as absent:
        return Section(name, title, absent=str(absent))
    except Exception as error:  # noqa: BLE001 - a malformed report is refused, and still needs a page
        _log.warning("section %s cannot be shown", name, exc_info=True)
        return Section(
            name, title, absent=f"This part cannot be shown: {type(error).__name__}: {error}."
        )

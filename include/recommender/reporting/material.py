"""Hold what the page is made of: parsed documents, each of which may be absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recommender.gate import Decision

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """Name an item for a person; every part may be unknown."""

    title: str | None = None
    category: str | None = None
    brand: str | None = None


@dataclass(frozen=True)
class Material:
    """Hold what a run left behind.

    Attributes:
        decision: the gate's record.
        report: the evaluation's report; None when it is not there.
        search: the candidate's search record; None when nothing was searched.
        profile: the dataset's profile.
        earlier: the profile of the newest older snapshot that was decided on, for comparison.
        earlier_snapshot: the date of that snapshot.
        checks: what the data checks found.
        samples: ten users with what they had, took and would get.
        items: item id -> what a person calls it.
        published: id of the version that this run has published; None as long as there is none.
        became_champion: whether the history of the pointer names that version.
        places: name -> URI of what the run left.
    """

    decision: Decision
    report: Document | None = None
    search: Document | None = None
    profile: Document | None = None
    earlier: Document | None = None
    earlier_snapshot: str | None = None
    checks: Document | None = None
    samples: Sequence[Document] | None = None
    items: Mapping[str, Item] = field(default_factory=dict)
    published: str | None = None
    became_champion: bool = False
    places: Mapping[str, str] = field(default_factory=dict)

"""Hold what goes into the reader and what comes out of it: plain values, no arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["personal", "folded_in", "popular", "similar"]


@dataclass(frozen=True)
class Interaction:
    """Say that somebody took an item.

    Attributes:
        item_id: the item; one that the model does not know says nothing and is left out.
        confidence: strength of the positive, as in the snapshots (2.0 for a verified purchase).
        timestamp: when, in seconds since the epoch; None is now. Matters with a half life only.
    """

    item_id: str
    confidence: float = 1.0
    timestamp: int | None = None


@dataclass(frozen=True)
class RankedList:
    """Hold a ranked list, best first; shorter than asked for when there is no more.

    Attributes:
        of: the user or the item that it is for; empty for a list from interactions.
        items: item ids.
        scores: of each item; comparable within one list only.
        source: where it comes from: ``personal`` (the user's trained factors), ``folded_in``
            (factors computed from interactions), ``popular`` (nothing is known of the user), or
            ``similar`` (cosine of item factors).
        version: id of the version that made it.
    """

    of: str
    items: tuple[str, ...]
    scores: tuple[float, ...]
    source: Source
    version: str

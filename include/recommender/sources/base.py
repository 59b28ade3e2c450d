"""Define what a raw format is: its fields, how it is recognised, what each line must hold.

A format is data: which keys hold the user, the item and the time, and how confidence follows.
Everything else (reading, rules, quarantine) is shared by all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommender.config import Preprocess

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class Rule:
    """Say when a line is bad, and why: the first rule that holds gives the reason.

    Attributes:
        reason: snake_case word, counted in the profile and written to the quarantine.
        broken: True where the line breaks the rule; null counts as False.
    """

    reason: str
    broken: Column


@dataclass(frozen=True)
class Confidence:
    """Say how strong an interaction is.

    Attributes:
        value: float32 column, null where the line's own value cannot be used.
        rules: what makes the value bad, in terms of the finished column ``confidence``.
    """

    value: Column
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Source:
    """Describe one raw format.

    Attributes:
        name: as in the configuration.
        user: key of the user's id.
        item: key of the item's id.
        time: key of the time, in any notation that ``parsing.epoch_seconds`` reads.
        marks: further keys of which all are there (tells formats with equal ids apart).
        foreign: keys of which none is there.
        extra: further keys that ``confidence`` reads.
        digits: length of an item's id that is all digits; one that is shorter has lost leading
            zeros. None where ids have no fixed length.
        confidence: from a function that gives the text of a key, and the settings.
    """

    name: str
    user: str
    item: str
    time: str
    confidence: Callable[[Callable[[str], Column], Preprocess], Confidence]
    marks: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    digits: int | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """Return the keys by which a line of this format is known."""
        return (self.user, self.item, self.time, *self.marks)

    def recognises(self, keys: Collection[str]) -> bool:
        """Tell whether an object with these keys is of this format."""
        return all(key in keys for key in self.required) and not any(
            key in keys for key in self.foreign
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys that are read, every value as text.

        Text loses nothing (leading zeros, ``NaN``, a number where text was expected): what a
        value means is decided by rules afterwards, one reason each.
        """
        return tuple(dict.fromkeys((self.user, self.item, self.time, *self.extra)))

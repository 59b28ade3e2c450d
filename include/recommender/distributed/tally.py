"""Add up what is measured of ranges of users, so that a report can be made of the sums.

Everything is a sum, a union or a table of how often a value occurs; none grows with the users. A
bootstrap of users depends on their distinct values and how often each occurs, and on nothing else
(see ``bootstrap``), so the intervals are those of one machine to the last digit. Means may differ from
its in the last digits, because they are added up in another order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
_SAMPLED = 240  # enough that each third of the users has ten


@dataclass
class Occurrences:
    """Count how often each distinct value occurs."""

    values: Values = field(default_factory=lambda: np.empty(0))
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, values: Values) -> Self:
        """Count values."""
        return cls(*np.unique(values, return_counts=True))

    def __add__(self, other: Occurrences) -> Occurrences:
        values, place = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        counts = np.bincount(
            place, np.concatenate([self.counts, other.counts]), minlength=len(values)
        )
        return Occurrences(values, counts.astype(np.int64))

    @property
    def mean(self) -> float:
        """Return the mean of all; there must be one."""
        return float((self.values * self.counts).sum() / self.counts.sum())


@dataclass
class PerRows:
    """Add up values by how many rows their users have.

    Attributes:
        rows: distinct numbers of rows, ascending.
        sums: (distinct, columns) what is added up.
    """

    rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sums: Values = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def of(cls, rows: npt.NDArray[np.int64], *columns: Values) -> Self:
        """Add up columns over users with equally many rows."""
        distinct, place = np.unique(rows, return_inverse=True)
        sums = [np.bincount(place, column, minlength=len(distinct)) for column in columns]
        return cls(distinct, np.stack(sums, axis=1) if sums else np.empty((len(distinct), 0)))

    def __add__(self, other: PerRows) -> PerRows:
        if not len(self.rows):
            return other
        if not len(other.rows):
            return self
        both = np.concatenate([self.rows, other.rows])
        return PerRows.of(both, *np.concatenate([self.sums, other.sums]).T)


@dataclass
class Union:
    """Hold which items occur, a bit each."""

    bits: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    @classmethod
    def of(cls, items: npt.NDArray[np.int32], catalogue: int) -> Self:
        """Mark items; padding (-1) is none."""
        mask = np.zeros(catalogue, dtype=np.bool_)
        mask[items[items >= 0]] = True
        return cls(np.packbits(mask))

    def __add__(self, other: Union) -> Union:
        if not len(self.bits):
            return other
        return Union(self.bits | other.bits) if len(other.bits) else self

    @property
    def size(self) -> int:
        """Return how many items there are."""
        return int(np.bitwise_count(self.bits).sum())


@dataclass
class Sample:
    """Hold a few users, drawn by a random key each: those with the smallest keys of all."""

    drawn: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    size: int = _SAMPLED

    def __add__(self, other: Sample) -> Sample:
        ordered = sorted([*self.drawn, *other.drawn], key=lambda pair: pair[0])
        return Sample(ordered[: self.size], self.size)


@dataclass
class _Sums:
    """Add field by field; a dictionary key by key."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            **{f.name: _add(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        )


def _add(one: Any, other: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    if isinstance(one, dict):
        return {
            key: _add(one[key], other[key])
            if key in one and key in other
            else one.get(key, other.get(key))
            for key in [*one, *(key for key in other if key not in one)]
        }
    return one + other


@dataclass
class ModelTally(_Sums):
    """Add up what is measured of one model's lists.

    Attributes:
        metrics: sums over users, in order of ``metrics.METRICS``.
        recall: of users.
        gain: the candidate's recall minus this model's, of users.
        items: recommended ones.
        novelty: sum over users of the list's mean of -log2 of the items' popularity.
        popularity: sum over users of the list's mean popularity.
        filled: lists that are not empty.
        curves: (2, lengths) sums of recall and nDCG.
        by_rows: users, recall, gain, squared gain by the user's rows.
        parts: (2, 4) the same over users with held-out items of the head, of the tail.
        overlap: sum of shares common with the candidate's list, and lists that are not empty.
    """

    metrics: Values
    recall: Occurrences
    gain: Occurrences
    items: Union
    novelty: float
    popularity: float
    filled: int
    curves: Values
    by_rows: PerRows
    parts: Values
    overlap: Values


@dataclass
class NewTally(_Sums):
    """Add up the measure of newcomers: unknown users by popularity, new items."""

    users: int = 0
    held_out: int = 0
    recall: dict[str, float] = field(default_factory=dict)
    item_users: int = 0
    item_held_out: int = 0
    items: Union = field(default_factory=Union)


@dataclass
class Tally(_Sums):
    """Add up what is measured of a range of users.

    Attributes:
        population: counts, as ``metrics.population`` gives; ``catalogue`` is left out.
        warm_users: users with a fit row.
        histories: sum over measured users of the mean popularity of what they took.
        parts: (2, 2) held-out items and users that have some, of head and tail.
        models: by name.
        cold: newcomers.
        samples: users to show, and ``probes`` users to ask again.
    """

    population: dict[str, int] = field(default_factory=dict)
    warm_users: int = 0
    histories: float = 0.0
    parts: Values = field(default_factory=lambda: np.zeros((2, 2)))
    models: dict[str, ModelTally] = field(default_factory=dict)
    cold: NewTally = field(default_factory=NewTally)
    samples: Sample = field(default_factory=Sample)
    probes: Sample = field(default_factory=Sample)


def total(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up."""
    found = Tally()
    for one in tallies:
        found = found + one
    return found

"""Walk a parsed JSON document strictly; a complaint names the place and what stands there."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

# The same float64 sums in another order differ by about 1e-16; a wrong model's number by 1e-4.
TOLERANCE = 1e-9
_COUNT_CEILING = 2**63


class MalformedReportError(ValueError):
    """The report cannot be trusted; the message is a sentence that says why."""


class Node:
    """Walk a parsed JSON document and know the way, so that a complaint can name the place."""

    def __init__(self, value: object, path: str) -> None:
        self.value, self.path = value, path

    def __getitem__(self, key: str) -> Node:
        mapping = self._mapping()
        if key not in mapping:
            refuse(f"{self._join(key)} is missing")
        return Node(mapping[key], self._join(key))

    def has(self, *path: str) -> bool:
        """Tell whether a value stands at the end of a path of keys."""
        value = self.value
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                return False
            value = value[key]
        return True

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the keys and values of an object."""
        for key, value in self._mapping().items():
            if not isinstance(key, str):
                self.expected("text as keys")
            yield key, Node(value, self._join(key))

    def entries(self) -> Iterator[Node]:
        """Yield the values of a list."""
        if not isinstance(self.value, list):
            self.expected("a list")
        for index, value in enumerate(self.value):
            yield Node(value, f"{self.path}[{index}]")

    def number(self, low: float, high: float) -> float:
        """Return a finite number from ``low`` to ``high``, rounding allowed for."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.expected("a number")
        if not low - TOLERANCE <= value <= high + TOLERANCE:
            self.expected(f"a number from {low:g} to {high:g}")
        return float(value)

    def count(self) -> int:
        """Return a whole number of 0 or more."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _COUNT_CEILING:
            self.expected("a whole number")
        return value

    def text(self) -> str:
        """Return text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            self.expected("text")
        return self.value

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            self.expected("true or false")
        return self.value

    def expected(self, what: str) -> NoReturn:
        """Refuse the document: something else should stand here."""
        refuse(f"{self.path or 'the whole'} should be {what} but is {_show(self.value)}")

    def _mapping(self) -> Mapping[Any, object]:
        if not isinstance(self.value, Mapping):
            self.expected("an object")
        return self.value

    def _join(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def refuse_unstorable(report: object) -> None:
    """Refuse what no JSON file can hold, wherever it stands.

    NaN and Infinity are the trace of a broken computation; half a surrogate pair is no character
    and would fail only later, when the decision is written.
    """
    waiting = [Node(report, "")]
    while waiting:
        node = waiting.pop()
        value = node.value
        if isinstance(value, float) and not math.isfinite(value):
            refuse(f"{node.path or 'the whole'} is {value}")
        if not _is_text(node.path) or (isinstance(value, str) and not _is_text(value)):
            refuse(f"{node.path!a} holds text that is not Unicode")
        if isinstance(value, Mapping):
            waiting.extend(child for _, child in node.items())
        elif isinstance(value, list):
            waiting.extend(node.entries())


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _show(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return f"a {type(value).__name__} too long to print"


def refuse(why: str) -> NoReturn:
    """Raise the one error of this module."""
    raise MalformedReportError(why)

"""Read one raw line the careful way: what counts as a JSON object, and why a line is none.

The engines' own parsers are fast and differ at the edges: a key that occurs twice, nesting, a
comma too many, NaN, broken UTF-8. They decide only on lines that are plainly good. Every other
line is read here, by the same code on both engines, so that what becomes of it does not depend on
the engine.

Accepted is an object as in RFC 8259, and beyond it, because lines of that kind occur and lose
nothing: NaN and Infinity in any spelling, and a comma before a closing bracket. Of a key that
occurs twice the last value counts, as in Python, JavaScript and Spark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

SPACE = " \t\r\n\f\v\ufeff"
"""What is no content around a line; U+FEFF is a byte-order mark, also where files were joined."""

MAX_DEPTH = 500
"""Brackets within brackets; data of this kind has 3. Parsers end at 1,000, each in its own way."""

_OUTSIDE_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^"]+', re.DOTALL)
_SPARE_COMMA = re.compile(r",(\s*[}\]])")
_NOT_FINITE = re.compile(r"-?\b(?:nan|inf(?:inity)?)\b", re.IGNORECASE)


class _NoNumber:
    """Stand for a NaN or an Infinity that was written as a number."""


def read(
    raw: str | bytes, keys: Sequence[str], ids: Sequence[str]
) -> tuple[str, str | None, list[str | None]]:
    """Read a line.

    Args:
        raw: the line as it is in the file; bytes that are no UTF-8 become U+FFFD.
        keys: whose values are wanted.
        ids: those of them that hold an id, for which an object, a list or NaN will not do.

    Returns:
        the line as text, the reason why it cannot be read (None if it can), and the text of each
        key: a number as it is written, true and false in lower case, None where it is absent.
    """
    line = (raw if isinstance(raw, str) else bytes(raw).decode("utf-8", "replace")).rstrip("\r\n")
    text = line.strip(SPACE)
    reason = _fault(text)
    if reason:
        return line, reason, [None] * len(keys)
    record = _parse(text)
    if record is None:
        reason = "two_objects" if _begins_with_object(text) else "not_json"
        return line, reason, [None] * len(keys)
    return line, None, [_text(record.get(key), is_id=key in ids) for key in keys]


def _fault(text: str) -> str | None:
    if not text.startswith("{"):
        return "not_an_object"
    return "nested_too_deep" if _depth(text) > MAX_DEPTH else None


def _depth(text: str) -> int:
    """Return how deep brackets lie within brackets, those within strings left out."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0  # as good as any number that is small enough
    depth = deepest = 0
    for part in _OUTSIDE_STRINGS.findall(text):
        if not part.startswith('"'):
            for sign in part:
                depth += (sign in "{[") - (sign in "}]")
                deepest = max(deepest, depth)
    return deepest


def _parse(text: str) -> dict[str, object] | None:
    try:
        return _loads(text)
    except ValueError:
        pass
    try:
        return _loads(_tolerated(text))
    except ValueError:
        return None


def _loads(text: str) -> dict[str, object]:
    # Numbers stay as they are written: no digit is lost, and none is too long to convert.
    record: dict[str, object] = json.loads(
        text, parse_int=str, parse_float=str, parse_constant=lambda _: _NoNumber
    )
    return record


def _tolerated(text: str) -> str:
    """Take out, beside the strings, what JSON forbids and nobody needs."""

    def mend(part: re.Match[str]) -> str:
        if part[0].startswith('"'):
            return part[0]
        return _NOT_FINITE.sub("NaN", _SPARE_COMMA.sub(r"\1", part[0]))

    return _OUTSIDE_STRINGS.sub(mend, text)


def _begins_with_object(text: str) -> bool:
    """Tell whether an object is followed by another, as a torn write leaves them."""
    try:
        _, end = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode(text)
    except ValueError:
        return False
    return text[end:].lstrip(SPACE).startswith("{")


def _text(value: object, *, is_id: bool) -> str | None:
    """Return a value as text; what cannot be an id is none, and what is no number is not one."""
    if value is None or isinstance(value, str):
        # A lone surrogate is no character: Spark writes a question mark as well.
        return value and value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_id:
        return None
    return "NaN" if value is _NoNumber else json.dumps(value, default=str)

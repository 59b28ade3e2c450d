"""Turn a raw line into a record, whatever wrote it: JSON, or a Python literal as of 2014.

A Python literal is never evaluated: text is taken out first, what is left has to consist of
brackets, separators, numbers, ``True``, ``False`` and ``None``, and only then does
``ast.literal_eval`` build the value. So neither a call nor an operator ever reaches the parser, and
depth and size are known before it starts (deep nesting can end a Python process). Most lines need
none of it: written with JSON's quotes and constants they are JSON, of the same value.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

MAX_BYTES = 1 << 20
"""Longest line that is parsed; real ones end at some 300 kB."""

MAX_DEPTH = 32
"""Deepest nesting; real records have four levels."""

_SPACE = " \t\r\n\f\v\ufeff"  # U+FEFF is a byte-order mark, also where files were joined
_TEXT = re.compile(r"""u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}
_TOKEN = re.compile(f"{_TEXT.pattern}|[A-Za-z]+", re.DOTALL)
_NUMBER = r"-?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_WORD = re.compile(rf"(?:True|False|None|{_NUMBER})(?![\w.])")
_VALUE = "0"  # stands for a text, a number or a constant
_STRUCTURE = re.compile(rf"[\[\]{{}}():,\s{_VALUE}]*")
_ADJACENT = re.compile(
    rf"{_VALUE}\s*{_VALUE}"
)  # a sum, or texts glued together: repr writes neither
_OPEN, _CLOSE = "[{(", "]})"


class BadLineError(ValueError):
    """The line holds no record; the message is the reason, in snake_case."""


def parse(line: bytes) -> dict[str, Any] | None:
    """Parse one line; None for a blank one.

    Raises:
        BadLineError: the reason for the quarantine.
    """
    if len(line) > MAX_BYTES:
        raise BadLineError("line_too_long")
    try:
        text = line.decode("utf-8").strip(_SPACE)
    except UnicodeDecodeError as error:
        raise BadLineError("not_utf8") from error
    if not text:
        return None
    if not text.startswith("{"):
        raise BadLineError("not_an_object")
    value = _parse_object(text)
    if not isinstance(value, dict):
        raise BadLineError("not_an_object")  # {1, 2} is a set
    return value


def _parse_object(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise BadLineError("nested_too_deeply") from error
    except ValueError:
        return _parse_literal(text)


def _parse_literal(text: str) -> object:
    if sum(map(text.count, _OPEN)) <= MAX_DEPTH:
        try:
            return json.loads(_TOKEN.sub(_respell, text), parse_constant=_no_constant)
        except (ValueError, SyntaxError):
            pass  # no literal, or one that JSON has no word for: a tuple, 1_000, a key that is no text
    if _depth(_TEXT.sub(_VALUE, text)) > MAX_DEPTH:
        raise BadLineError("nested_too_deeply")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise BadLineError("neither_json_nor_literal") from error


def _respell(token: re.Match[str]) -> str:
    """Write a literal's text or constant as JSON does; what only JSON knows becomes no JSON."""
    word = token[0]
    if word[-1] not in "'\"":
        return _CONSTANTS.get(word, "?")
    if "\\" in word:
        return json.dumps(ast.literal_eval(word))
    inner = word[word.index(word[-1]) + 1 : -1].replace('"', '\\"')
    return f'"{inner}"'


def _no_constant(word: str) -> None:
    message = f"{word} is no literal"
    raise ValueError(message)


def _depth(structure: str) -> int:
    """Return the nesting of a literal whose strings have been taken out.

    Raises:
        BadLineError: there is anything but brackets, separators, numbers and the three constants.
    """
    rest = _WORD.sub(_VALUE, structure)
    if not _STRUCTURE.fullmatch(rest) or _ADJACENT.search(rest):
        raise BadLineError("neither_json_nor_literal")
    depth = deepest = 0
    for character in rest:
        if character in _OPEN:
            depth += 1
            deepest = max(deepest, depth)
        elif character in _CLOSE:
            depth -= 1
    return deepest

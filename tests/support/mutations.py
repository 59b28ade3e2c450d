"""Damage lines of JSON (or of Python literals) in the ways that real files are damaged, seeded."""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Callable
from typing import Any


def _record(line: bytes) -> dict[str, Any]:
    """Read a line that is whole: JSON, or the Python literal of 2014's metadata."""
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        record = ast.literal_eval(line.decode())
    return record


def _cut(rng: random.Random, line: bytes) -> bytes:
    return line[: rng.randrange(len(line))]


def _swap_types(rng: random.Random, line: bytes) -> bytes:
    record = _record(line)
    key = rng.choice(list(record))
    values: list[Any] = [
        None,
        True,
        -1,
        0,
        7.5,
        1e300,
        "",
        " ",
        "NaN",
        "-",
        [],
        [1],
        {},
        {"a": [2]},
    ]
    record[key] = rng.choice([*values, "2017-02-30", "2016-02-29T23:59:60Z", str(record[key])])
    return json.dumps(record).encode()


def _repeat_key(rng: random.Random, line: bytes) -> bytes:
    record = _record(line)
    key, value = rng.choice(list(record.items()))
    again = json.dumps({key: rng.choice([value, None, "other", 5])}).encode()
    spelt = again if rng.random() < 0.8 else again.replace(b'"', b'"\\u00', 0)
    return line[:-1] + b", " + spelt[1:] if rng.random() < 0.5 else again[:-1] + b", " + line[1:]


def _giant(rng: random.Random, line: bytes) -> bytes:
    size = rng.choice([300_000, 5_000, 1_001])
    giant = rng.choice([b'"' + b"x" * size + b'"', b"9" * size, b"[" + b"1," * size + b"1]"])
    return line[:-1] + b', "giant": ' + giant + b"}"


def _break_utf8(rng: random.Random, line: bytes) -> bytes:
    at = rng.randrange(len(line))
    bad = rng.choice([b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf"])
    return line[:at] + bad + line[at:]


def _not_a_number(rng: random.Random, line: bytes) -> bytes:
    record = _record(line)
    key = rng.choice(list(record))
    record[key] = "@@"
    word = rng.choice([b"NaN", b"nan", b"-Infinity", b"Infinity", b"inf", b"-inf", b"INF", b"+1"])
    return json.dumps(record).encode().replace(b'"@@"', word)


def _nest(rng: random.Random, line: bytes) -> bytes:
    depth = rng.choice([20, 498, 499, 500, 900, 1_100, 20_000])
    left, right = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    inside = rng.choice([b"1", b'"]"', b"", b"[" * 600 + b"]" * 600])
    closed = rng.choice([depth, depth, depth - 1])
    return line[:-1] + b', "deep": ' + left * depth + inside + right * closed + b"}"


def _punctuate(rng: random.Random, line: bytes) -> bytes:
    """Put a sign, a control character or an escape anywhere."""
    at = rng.randrange(len(line) + 1)
    signs = [b",", b"}", b"{", b"]", b'"', b"\\", b"\\u0000", b"\\ud800", b"\t", b"\x00", b"\r"]
    signs += [b"\xef\xbb\xbf", b"}{", b"},{", b", }", b":", b"'", b"\\u0041", b" ", b"/**/"]
    return line[:at] + rng.choice(signs) + line[at:]


MUTATIONS: list[Callable[[random.Random, bytes], bytes]] = [
    _cut, _swap_types, _repeat_key, _giant, _break_utf8, _not_a_number, _nest, _punctuate,
]  # fmt: skip


def mutated(lines: list[bytes], n: int, seed: int) -> list[bytes]:
    """Change lines drawn at random, each in one way drawn at random; JSON objects or not."""
    rng = random.Random(seed)
    return [rng.choice(MUTATIONS)(rng, rng.choice(lines)) for _ in range(n)]

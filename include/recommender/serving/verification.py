"""Hold a loaded candidate to what the evaluator measured, and to the limits of serving."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.config import Serve
from recommender.serving import RankedList, ServedModel

_TOLERANCE = 1e-5  # float32 products of other shapes differ in the last digits
_ASKS = 1000  # the 99th percentile of fewer is a matter of luck


@dataclass(frozen=True)
class Measured:
    """Say how a loaded candidate served the fixed users.

    Attributes:
        users: how many were asked.
        differing: of these, whose list is not the evaluator's.
        first: the first such user; None when there is none.
        load_seconds: from the first byte fetched to the first answer possible.
        p50_ms: median milliseconds of one user's list.
        p99_ms: 99th percentile.
        memory_mb: peak of the process, files mapped into memory included.
    """

    users: int
    differing: int
    first: str | None
    load_seconds: float
    p50_ms: float
    p99_ms: float
    memory_mb: float


def ask(
    model: ServedModel,
    probes: Mapping[str, Any],
    load_seconds: float,
    memory_mb: Callable[[], float],
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Ask for the fixed users' lists, one at a time as a server does, and time every answer.

    Args:
        model: loaded as a reader loads it.
        probes: what ``probes.draw`` returned in the evaluation.
        load_seconds: how long loading has taken.
        memory_mb: returns the peak memory of this process.
        clock: for the latencies, in seconds.
    """
    expected = probes["users"]
    differing = list[str]()
    latencies = list[float]()
    for number, probe in enumerate(itertools.cycle(expected)):
        if number >= max(_ASKS, len(expected)):
            break
        began = clock()
        (ranked,) = model.recommend(
            [probe["user"]], probes["k"], exclude_seen=probes["exclude_seen"]
        )
        latencies.append(1000 * (clock() - began))
        if number < len(expected) and not is_same(ranked, probe["items"], probe["scores"]):
            differing.append(probe["user"])
    p50, p99 = np.percentile(latencies, [50, 99])
    return Measured(
        users=len(expected),
        differing=len(differing),
        first=differing[0] if differing else None,
        load_seconds=round(load_seconds, 3),
        p50_ms=round(float(p50), 3),
        p99_ms=round(float(p99), 3),
        memory_mb=round(memory_mb(), 1),
    )


def is_same(ranked: RankedList, items: Sequence[str], scores: Sequence[float]) -> bool:
    """Tell whether a list is the expected one, items of equal score in any order.

    Scores count as equal within 1e-5 of the largest, because a product of one row rounds otherwise
    than one of many.
    """
    if ranked.source != "personal" or len(ranked.items) != len(items):
        return False
    given, wanted = np.array(ranked.scores), np.array(scores)
    tolerance = _TOLERANCE * max(1.0, float(np.abs(wanted).max(initial=0.0)))
    if np.abs(given - wanted).max(initial=0.0) > tolerance:
        return False
    gaps = np.abs(np.diff(wanted)) <= 2 * tolerance
    # The last place may be taken by an item that ties with it and is not in the other list.
    tied = np.append(gaps, True) | np.append(False, gaps)
    return all(
        one == other or tie for one, other, tie in zip(ranked.items, items, tied, strict=True)
    )


def findings(measured: Measured, limits: Serve) -> list[str]:
    """Return one sentence for everything that speaks against serving this candidate."""
    found = list[str]()
    if not measured.users:
        found.append("No user was asked: nobody has a fit row.")
    if measured.differing:
        found.append(
            f"{measured.differing} of {measured.users} users get another list from the loaded "
            f"model than the evaluation measured; the first is {measured.first}."
        )
    held = (
        ("The 99th percentile of an answer takes", measured.p99_ms, limits.max_p99_ms, "ms"),
        ("Loading takes", measured.load_seconds, limits.max_load_seconds, "s"),
        ("Serving takes", measured.memory_mb, limits.max_memory_mb, "MB of memory"),
    )
    found += [
        f"{what} {value:,.1f} {unit}; at most {limit:,.1f} are allowed."
        for what, value, limit, unit in held
        if value > limit
    ]
    return found

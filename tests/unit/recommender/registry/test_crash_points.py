"""Every change of the registry, interrupted at each S3 call that changes something, in four ways.

The calls that only read, and real processes that are killed, are in ``benchmarks/crash_points.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crash_points import MODES, SCENARIOS, Mode, Scenario, try_points
from registry_store import places

from recommender.locations import Locations


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", SCENARIOS, ids=lambda build: build.__name__)
def test_a_reader_gets_the_old_or_the_new_champion_and_a_rerun_finishes(
    s3: str, build: Callable[[Locations], Scenario], mode: Mode
) -> None:
    points = list(try_points(places(s3), build, mode, reads=False))
    print(f"{build.__name__}: {mode} at {len(points)} calls: {', '.join(points)}")
    # The record before, the pointer, its record: fewer would mean that the calls are not seen.
    assert points.count("PutObject") >= (2 if build is SCENARIOS[0] else 3)

"""Interrupt publish, promote, rollback and prune at every single S3 call; print how many were tried.

    python benchmarks/crash_points.py

Against the embedded AWS in a process of its own. At each call, readings included, the call fails,
its answer is lost, the request is sent twice, or the process is killed right after it: a child of
this one, by ``os._exit``. After each a reader must get the old or the new champion whole, and a
rerun must finish. Takes about ten minutes; the calls that change something are tried in the tests.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "include"), str(ROOT / "tests" / "support")]

import pytest  # noqa: E402
from crash_points import MODES, SCENARIOS, Calls, Mode, in_process, try_points  # noqa: E402
from registry_store import places  # noqa: E402

from localaws import testing  # noqa: E402
from recommender import storage  # noqa: E402

_KILLED = 9


def in_a_child(act: Callable[[], Any], mode: Mode, at: int) -> None:
    """Run an action in a process that ends in the middle of it."""
    if mode != "killed":
        in_process(act, mode, at)
        return
    child = os.fork()
    if child == 0:
        storage.s3_client.cache_clear()  # connections are not for sharing
        with pytest.MonkeyPatch.context() as patch:
            Calls(patch, mode, at, die=lambda: os._exit(_KILLED))
            act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != _KILLED:
        message = f"expected the child to die at call {at}, found status {status}"
        raise AssertionError(message)


def main() -> int:
    """Try every point; a point that fails ends the run with its assertion."""
    began, total = time.monotonic(), 0
    with (
        tempfile.TemporaryDirectory(prefix="recsys-crash-") as folder,
        testing.running(Path(folder), ["store"]) as server,
    ):
        os.environ.update(testing.environment(server.endpoint_url))
        print(f"{'change':<20} {'at each call':<12} points")
        for build in SCENARIOS:
            for mode in MODES:
                storage.delete_prefix("s3://store")
                tried = list(
                    try_points(places("s3://store"), build, mode, reads=True, interrupt=in_a_child)
                )
                total += len(tried)
                print(f"{build.__name__:<20} {mode:<12} {len(tried):>6}", flush=True)
    print(
        f"{total} points in {time.monotonic() - began:.0f} s; after each a whole champion, and a rerun finished"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

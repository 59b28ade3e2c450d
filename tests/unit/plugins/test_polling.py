"""Many waits at once against EMR's own limit, in virtual time.

EMR's default quotas, per account and Region (Service Quotas, codes L-81AF5123 and L-D74118B4): the
bucket of DescribeCluster holds 10 calls and refills by 1 call a second; of all operations together
(L-283CCA2A, L-432FAB44) 25 and 5 a second. An hour of 50 runs that all began in the same second
(the worst: a triggerer that restarts), looked at

- every 60 s: 1,640 looks, 0.46 a second, none throttled;
- every 30 s: 3,120 looks, 0.87 a second, of which about a hundred are throttled in the first minutes and back
  off; no wait is lost. 25 runs at this pace: 0.44 a second, none throttled.

Beside the looks a stage asks EMR about ten times in all: RunJobFlow, three lists of clusters, one
of steps, five descriptions.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import itertools
import random
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from recsys_emr import triggers
from recsys_emr.triggers import ClusterEndTrigger

HOUR = 3600.0
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeCluster")


class Bucket:
    """A token bucket as EMR has one for each operation."""

    def __init__(self, capacity: float = 10.0, refill: float = 1.0) -> None:
        self._capacity = self._tokens = capacity
        self._refill = refill
        self._last = 0.0
        self.calls = self.throttled = 0

    def take(self, now: float) -> bool:
        self.calls += 1
        grown = self._tokens + (now - self._last) * self._refill
        self._tokens, self._last = min(self._capacity, grown), now
        if self._tokens < 1:
            self.throttled += 1
            return False
        self._tokens -= 1
        return True


class VirtualTime:
    """Let every sleeper sleep in order without anybody waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), future))
        await future

    async def drive(self, tasks: list[asyncio.Task[Any]]) -> None:
        while not all(task.done() for task in tasks):
            for _ in range(4):  # let whoever has been woken fall asleep again
                await asyncio.sleep(0)
            if self._sleepers:
                self.now, _, future = heapq.heappop(self._sleepers)
                future.set_result(None)


def state_at(now: float) -> str:
    """Live as a cluster does: minutes to start, an hour of work in all."""
    if now < 300:
        return "STARTING"
    if now < 420:
        return "BOOTSTRAPPING"
    return "RUNNING" if now < HOUR else "TERMINATED"


def simulate(runs: int, poll: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Bucket, list[Any]]:
    time, bucket = VirtualTime(), Bucket()

    async def status(_: ClusterEndTrigger) -> dict[str, Any]:
        if not bucket.take(time.now):
            raise THROTTLED
        created = dt.datetime.now(dt.UTC)
        return {"State": state_at(time.now), "Timeline": {"CreationDateTime": created}}

    async def wait(number: int) -> Any:
        trigger = ClusterEndTrigger(f"j-{number}", "us-east-1", poll, 4 * HOUR)
        return (await anext(trigger.run())).payload

    async def everybody() -> list[Any]:
        tasks = [asyncio.ensure_future(wait(number)) for number in range(runs)]
        await time.drive(tasks)
        return [task.result() for task in tasks]

    monkeypatch.setattr(ClusterEndTrigger, "_status", status)
    monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(sleep=time.sleep))
    random.seed(20261122)
    return bucket, asyncio.run(everybody())


@pytest.mark.parametrize(("runs", "poll"), [(50, 60.0), (25, 30.0)])
def test_waits_that_began_together_are_never_throttled(
    runs: int, poll: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, events = simulate(runs, poll, monkeypatch)
    assert [event["state"] for event in events] == ["TERMINATED"] * runs
    assert bucket.throttled == 0
    assert bucket.calls / HOUR < 0.5


def test_fifty_waits_at_twice_that_pace_find_their_rhythm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket, events = simulate(50, 30.0, monkeypatch)
    assert [event["state"] for event in events] == ["TERMINATED"] * 50
    assert bucket.calls / HOUR < 1.0
    assert bucket.throttled / bucket.calls < 0.05


def test_two_hundred_waits_are_slow_and_lose_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times what EMR's bucket is good for: back-off keeps every wait alive."""
    bucket, events = simulate(200, 60.0, monkeypatch)
    assert [event["state"] for event in events] == ["TERMINATED"] * 200
    assert bucket.throttled

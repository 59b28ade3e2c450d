"""The wait in the triggerer: it survives what EMR does to it, and never leaves a cluster behind."""

from __future__ import annotations

import asyncio
import datetime as dt
import pkgutil
from collections.abc import Callable
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.triggers.base import BaseTrigger
from botocore.exceptions import ClientError

from recsys_emr import triggers
from recsys_emr.triggers import ClusterEndTrigger, SnapshotTrigger

REQUEST = {"Name": "retrain_shop/train/run", "Steps": [{"Name": "train"}]}


class AsyncClient:
    """Ask the stub as the triggerer asks EMR: awaiting, one attempt a call."""

    def __init__(self, emr: Any) -> None:
        self._emr = emr
        self._client = emr.client(attempts=1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        self._emr.closed += 1

    async def describe_cluster(self, **kwargs: Any) -> Any:
        return self._client.describe_cluster(**kwargs)

    async def terminate_job_flows(self, **kwargs: Any) -> Any:
        return self._client.terminate_job_flows(**kwargs)


@pytest.fixture
def slept(emr: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the trigger ask the stub; record its pauses instead of waiting; act after some of them."""
    pauses: list[float] = []

    emr.connected = emr.closed = 0

    async def get_async_conn() -> AsyncClient:
        emr.connected += 1
        return AsyncClient(emr)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 1000:
            message = "the trigger never fired"
            raise AssertionError(message)
        if act := acts.get(len(pauses)):
            act()

    acts: dict[int, Callable[[], None]] = {}
    emr.after = acts
    hook = SimpleNamespace(get_async_conn=get_async_conn)
    monkeypatch.setattr(triggers, "_hook", lambda _: hook)
    monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(sleep=sleep))
    return pauses


def fire(trigger: BaseTrigger) -> dict[str, Any]:
    async def first() -> Any:
        return (await anext(trigger.run())).payload

    payload: dict[str, Any] = asyncio.run(first())
    return payload


def made(emr: Any, limit: float = 3600.0) -> ClusterEndTrigger:
    cluster_id = emr.RunJobFlow(REQUEST)["JobFlowId"]
    return ClusterEndTrigger(cluster_id, "us-east-1", 30.0, limit)


def test_a_restarted_triggerer_gets_the_same_wait() -> None:
    trigger = ClusterEndTrigger("j-1", "eu-west-1", 30.0, 3600.0)
    path, kwargs = trigger.serialize()
    assert pkgutil.resolve_name(path)(**kwargs).serialize() == (path, kwargs)
    assert set(kwargs) == {"cluster_id", "region", "poll_seconds", "limit_seconds"}


@pytest.mark.parametrize("failures", [0, 2])
def test_one_client_serves_all_looks_until_one_fails(
    emr: Any, slept: list[float], failures: int
) -> None:
    trigger = made(emr)
    emr.after[8] = lambda: emr.complete(trigger.cluster_id)
    emr.faults["DescribeCluster"] = [("throttle", "")] * failures
    fire(trigger)
    assert emr.calls.count("DescribeCluster") == 8
    assert emr.connected == emr.closed == 1 + failures


@pytest.mark.parametrize("state", ["TERMINATED", "TERMINATED_WITH_ERRORS"])
def test_it_fires_when_the_cluster_has_ended_and_not_while_it_ends(
    emr: Any, slept: list[float], state: str
) -> None:
    trigger = made(emr)
    ending = (trigger.cluster_id, "TERMINATING", "ALL_STEPS_COMPLETED")
    emr.after.update({
        4: lambda: emr.end(*ending),
        6: lambda: emr.end(trigger.cluster_id, state, "ALL_STEPS_COMPLETED"),
    })  # fmt: skip
    assert fire(trigger) == {"cluster_id": trigger.cluster_id, "state": state}
    assert len(slept) == 6


def test_a_late_cluster_is_terminated_by_the_wait_itself(emr: Any, slept: list[float]) -> None:
    trigger = made(emr, limit=600.0)
    emr.after[3] = lambda: emr.age(trigger.cluster_id, 11)
    event = fire(trigger)
    assert event == {"cluster_id": trigger.cluster_id, "late": True, "limit_minutes": 10.0}
    assert emr.live == []


def test_a_late_cluster_is_terminated_although_emr_throttles(emr: Any, slept: list[float]) -> None:
    trigger = made(emr, limit=600.0)
    emr.age(trigger.cluster_id, 11)
    emr.faults["TerminateJobFlows"] = [("throttle", ""), ("down", "")]
    assert fire(trigger)["cluster_id"] == trigger.cluster_id
    assert emr.live == []


@pytest.mark.parametrize("fault", ["throttle", "down", "lose"])
def test_a_passing_fault_only_slows_the_looks(emr: Any, slept: list[float], fault: str) -> None:
    trigger = made(emr)
    emr.faults["DescribeCluster"] = [(fault, "")] * 5
    emr.after[7] = lambda: emr.complete(trigger.cluster_id)
    assert fire(trigger)["state"] == "TERMINATED"
    backing_off = slept[1:5]  # a fifth is as long as the fourth, give or take
    assert backing_off == sorted(backing_off)
    assert backing_off[-1] > 8 * 30
    assert slept[6] < 40  # and at once back to the usual pace


def test_it_gives_up_looking_after_a_while_and_leaves_the_cluster(
    emr: Any, slept: list[float]
) -> None:
    trigger = made(emr)
    emr.faults["DescribeCluster"] = [("throttle", "")] * 100
    event = fire(trigger)
    assert event["passing"] is True
    assert "ThrottlingException" in event["error"]
    assert emr.live == [trigger.cluster_id]


def test_a_refusal_is_told_at_once(emr: Any, slept: list[float]) -> None:
    trigger = made(emr)
    emr.faults["DescribeCluster"] = [("refuse", "AccessDeniedException")]
    assert fire(trigger)["passing"] is False
    assert emr.calls == ["DescribeCluster"]


def test_a_killed_task_terminates_its_cluster_although_emr_throttles(
    emr: Any, slept: list[float]
) -> None:
    trigger = made(emr)
    emr.faults["TerminateJobFlows"] = [("throttle", "")] * 3
    asyncio.run(trigger.on_kill())
    assert emr.live == []
    assert sum(slept) < 25  # Airflow gives it 30 s


def test_a_kill_that_fails_says_so(emr: Any, slept: list[float]) -> None:
    trigger = made(emr)
    emr.faults["TerminateJobFlows"] = [("refuse", "AccessDeniedException")]
    with pytest.raises(ClientError, match="AccessDenied"):
        asyncio.run(trigger.on_kill())


def test_a_restart_of_the_triggerer_alone_terminates_nothing(
    emr: Any, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restart() -> None:
        runs = asyncio.ensure_future(anext(trigger.run()))
        await real_sleep(0)
        runs.cancel()  # as at shutdown: no message of a user's action
        with pytest.raises(asyncio.CancelledError):
            await runs

    async def forever(_: float) -> None:
        await asyncio.Event().wait()

    real_sleep = asyncio.sleep
    trigger = made(emr)
    monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(sleep=forever))
    asyncio.run(restart())
    assert emr.live == [trigger.cluster_id]


def test_the_age_counts_from_the_creation_of_the_cluster(emr: Any, slept: list[float]) -> None:
    trigger = made(emr, limit=3600.0)
    emr.age(trigger.cluster_id, 59)
    emr.after[4] = lambda: emr.complete(trigger.cluster_id)
    assert fire(trigger)["state"] == "TERMINATED"
    assert dt.timedelta(seconds=sum(slept)) < dt.timedelta(minutes=5)


def test_the_wait_for_a_snapshot_outlasts_s3s_bad_minutes(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = ClientError({"Error": {"Code": "SlowDown"}}, "ListObjectsV2")
    answers: list[Any] = [slow, False, slow, slow, True]

    async def found(_: SnapshotTrigger) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    monkeypatch.setattr(SnapshotTrigger, "_found", found)
    trigger = SnapshotTrigger("lake", "snapshots/shop/2017-12-31/", "us-east-1", 60.0)
    assert fire(trigger) == {"prefix": trigger.prefix}
    assert len(slept) == 5


@pytest.mark.parametrize(
    ("names", "is_there"),
    [
        ([], False),
        (["part-0.json.gz"], True),
        (["_uploading.json", "part-0.json.gz"], False),
        (["_uploading.json", "manifest.json", "part-0.json.gz"], True),
        (["manifest.json", "part-0.json.gz"], True),
    ],
)
def test_a_snapshot_on_its_way_is_not_taken_for_there(
    names: list[str], is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "snapshots/shop/2017-12-31/"

    class Client:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int) -> Any:  # noqa: N803
            assert (Bucket, MaxKeys) == ("lake", 1)
            return {"KeyCount": int(any((prefix + name).startswith(Prefix) for name in names))}

    async def connect(_: object) -> Client:
        return Client()

    monkeypatch.setattr(S3Hook, "get_async_conn", connect)
    trigger = SnapshotTrigger("lake", prefix, "us-east-1", 60.0)
    assert asyncio.run(trigger._found()) is is_there


def test_the_wait_for_a_snapshot_does_not_outlast_a_refusal(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(_: SnapshotTrigger) -> bool:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

    monkeypatch.setattr(SnapshotTrigger, "_found", found)
    trigger = SnapshotTrigger("lake", "snapshots/shop/2017-12-31/", "us-east-1", 60.0)
    with pytest.raises(ClientError, match="AccessDenied"):
        fire(trigger)
    assert len(slept) == 1


@pytest.mark.parametrize("kind", ["cluster", "snapshot"])
def test_a_wait_never_comes_back_before_the_scheduler_knows_that_it_began(
    emr: Any, slept: list[float], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def found(_: SnapshotTrigger) -> bool:
        return True

    monkeypatch.setattr(SnapshotTrigger, "_found", found)
    trigger = made(emr)
    trigger.poll_seconds = 0.5
    emr.complete(trigger.cluster_id)
    waits = {"cluster": trigger, "snapshot": SnapshotTrigger("lake", "x/", "us-east-1", 0.5)}
    fire(waits[kind])
    assert sum(slept) >= 8

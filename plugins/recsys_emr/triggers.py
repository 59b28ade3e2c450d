"""Wait without a worker: the triggerer looks, everything it needs travels with the trigger."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from recsys_emr.outcome import ENDED_STATES

# EMR throttles DescribeCluster per account. A tenth more or less keeps many waits out of step.
_JITTER = 0.1
# The service's own errors that a later look may not meet; anything else is a fault of ours.
_PASSING_CODES = {"ThrottlingException", "InternalServerException", "InternalServerError", "503"}
_PATIENCE = 20  # looks in a row that may fail before the wait gives up


class ClusterEndTrigger(BaseTrigger):
    """Fire when a cluster has ended, however it ended; terminate it when the task is killed.

    Args:
        cluster_id: the cluster to watch.
        region: its region.
        poll_seconds: pause between two looks.
        limit_seconds: how long the cluster may live, from its creation on.
    """

    def __init__(
        self, cluster_id: str, region: str, poll_seconds: float, limit_seconds: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's, unannotated
        self.cluster_id = cluster_id
        self.region = region
        self.poll_seconds = poll_seconds
        self.limit_seconds = limit_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return all that a restarted triggerer needs."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "cluster_id": self.cluster_id,
                "region": self.region,
                "poll_seconds": self.poll_seconds,
                "limit_seconds": self.limit_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the cluster has ended or is late; log every change of state."""
        known, failures = "", 0
        while True:
            try:
                status = await self._status()
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must hear of it
                failures += 1
                if not is_passing(error) or failures > _PATIENCE:
                    yield TriggerEvent({"cluster_id": self.cluster_id, "error": repr(error)})
                    return
            else:
                failures = 0
                if status["State"] != known:
                    known = status["State"]
                    self.log.info("cluster %s is %s", self.cluster_id, known)
                event = self._event(status)
                if event:
                    yield TriggerEvent(event)
                    return
            await asyncio.sleep(self.poll_seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - spreads load, hides nothing

    def _event(self, status: dict[str, Any]) -> dict[str, Any] | None:
        if status["State"] in ENDED_STATES:
            return {"cluster_id": self.cluster_id, "state": status["State"]}
        created = status["Timeline"]["CreationDateTime"]
        if (dt.datetime.now(dt.UTC) - created).total_seconds() > self.limit_seconds:
            limit_minutes = self.limit_seconds / 60
            return {"cluster_id": self.cluster_id, "late": True, "limit_minutes": limit_minutes}
        return None

    async def on_kill(self) -> None:
        """Terminate the cluster: a person has marked the task failed, or cleared it."""
        async with await _hook(self.region).get_async_conn() as client:
            await client.terminate_job_flows(JobFlowIds=[self.cluster_id])
        self.log.info("task was killed: cluster %s is being terminated", self.cluster_id)

    async def _status(self) -> dict[str, Any]:
        async with await _hook(self.region).get_async_conn() as client:
            answer = await client.describe_cluster(ClusterId=self.cluster_id)
        return dict(answer["Cluster"]["Status"])


class SnapshotTrigger(BaseTrigger):
    """Fire when an S3 prefix holds an object."""

    def __init__(self, bucket: str, prefix: str, region: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's, unannotated
        self.bucket = bucket
        self.prefix = prefix
        self.region = region
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return all that a restarted triggerer needs."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "bucket": self.bucket,
                "prefix": self.prefix,
                "region": self.region,
                "poll_seconds": self.poll_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """List the prefix until something is there."""
        while not await self._found():
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"prefix": self.prefix})

    async def _found(self) -> bool:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        hook = S3Hook(aws_conn_id=None, region_name=self.region)
        async with await hook.get_async_conn() as client:
            answer = await client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        return bool(answer.get("KeyCount"))


def is_passing(error: Exception) -> bool:
    """Tell an error that a later look may not meet: throttling, a 5xx, a lost connection."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error.response.get("Error", {}).get("Code") in _PASSING_CODES or status >= 500
    return isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError | TimeoutError)


def _hook(region: str) -> Any:  # noqa: ANN401 - the provider's hook is untyped here
    """Return a hook that takes credentials and endpoint from boto3's own chain, no connection."""
    from airflow.providers.amazon.aws.hooks.emr import EmrHook

    return EmrHook(aws_conn_id=None, emr_conn_id=None, region_name=region)

"""Wait without a worker: the triggerer looks, everything it needs travels with the trigger."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from recommender.locations import MANIFEST, UPLOADING
from recsys_emr.clusters import is_passing
from recsys_emr.outcome import ENDED_STATES
from recsys_emr.pace import SHORTEST_PAUSE, look_pause

_PATIENCE = 12  # looks in a row that may fail: 3 quarters of an hour at 30 s
_KILL_ATTEMPTS = 4  # Airflow gives on_kill 30 s


class ClusterEndTrigger(BaseTrigger):
    """Fire when a cluster has ended, however it ended; terminate it when it is late or killed.

    A restarted triggerer makes it anew from ``serialize`` and goes on: the time limit counts from
    the cluster's creation, not from the wait's. ``on_kill`` runs only on a person's action.

    Args:
        cluster_id: the cluster to watch.
        region: its region.
        poll_seconds: shortest pause between two looks.
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
        self._client: Any = None
        self._open = AsyncExitStack()

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
        try:
            async for event in self._watch():
                yield event
        finally:
            await self._hang_up()

    async def _watch(self) -> AsyncIterator[TriggerEvent]:
        # After a restart of the triggerer all its waits begin in the same moment.
        await asyncio.sleep(SHORTEST_PAUSE + self.poll_seconds * random.random())  # noqa: S311 - spreads load, hides nothing
        known, looks, failures = "", 0, 0
        while True:
            try:
                status = await self._status()
                looks, failures = (looks + 1 if status["State"] == known else 1), 0
                if status["State"] != known:
                    known = status["State"]
                    self.log.info("cluster %s is %s", self.cluster_id, known)
                event = await self._event(status)
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must hear of it
                failures += 1
                self.log.warning("look %d at %s failed: %r", failures, self.cluster_id, error)
                event = self._given_up(error, failures)
                await self._hang_up()
            if event:
                yield TriggerEvent(event)
                return
            await asyncio.sleep(look_pause(self.poll_seconds, looks, failures, random.uniform))

    async def _event(self, status: dict[str, Any]) -> dict[str, Any] | None:
        """Return what to tell the task; a late cluster is terminated first, or it would go on."""
        if status["State"] in ENDED_STATES:
            return {"cluster_id": self.cluster_id, "state": status["State"]}
        created = status["Timeline"]["CreationDateTime"]
        if (dt.datetime.now(dt.UTC) - created).total_seconds() <= self.limit_seconds:
            return None
        if status["State"] != "TERMINATING":
            await self._terminate()
        limit_minutes = self.limit_seconds / 60
        return {"cluster_id": self.cluster_id, "late": True, "limit_minutes": limit_minutes}

    def _given_up(self, error: Exception, failures: int) -> dict[str, Any] | None:
        passing = is_passing(error)
        if passing and failures <= _PATIENCE:
            return None
        return {"cluster_id": self.cluster_id, "error": repr(error), "passing": passing}

    async def on_kill(self) -> None:
        """Terminate the cluster: a person has marked the task failed or succeeded, or cleared it.

        Marked as succeeded too: it says that nobody waits for the cluster any longer, and the
        teardown, which runs next, would terminate it anyway. Its output is then what is in S3.
        """
        # Said before it is done: Airflow gives it half a minute, and takes no word after that.
        self.log.info("task was killed: terminating cluster %s", self.cluster_id)
        for attempt in range(1, _KILL_ATTEMPTS + 1):
            try:
                await self._terminate()
            except Exception as error:
                if attempt == _KILL_ATTEMPTS or not is_passing(error):
                    self.log.exception("cluster %s could not be terminated", self.cluster_id)
                    raise
                await asyncio.sleep(2.0**attempt * random.uniform(0.5, 1))  # noqa: S311 - as above
            else:
                return

    async def _terminate(self) -> None:
        async with await _hook(self.region).get_async_conn() as client:
            await client.terminate_job_flows(JobFlowIds=[self.cluster_id])

    async def _status(self) -> dict[str, Any]:
        """Look with one client for all looks: to make one takes the triggerer longer than a look."""
        if self._client is None:
            connection = await _hook(self.region).get_async_conn()
            self._client = await self._open.enter_async_context(connection)
        answer = await self._client.describe_cluster(ClusterId=self.cluster_id)
        return dict(answer["Cluster"]["Status"])

    async def _hang_up(self) -> None:
        self._client = None
        await self._open.aclose()


class SnapshotTrigger(BaseTrigger):
    """Fire when a snapshot is there: see ``recommender.snapshots`` for what that means."""

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
        """List the prefix until something is there; a night of S3's bad minutes is waited out."""
        failures = 0
        await asyncio.sleep(SHORTEST_PAUSE)
        while True:
            try:
                found, failures = await self._found(), 0
            except Exception as error:
                failures += 1
                if not is_passing(error) or failures > _PATIENCE:
                    raise  # Airflow shows it in the task's log and retries the wait
                self.log.warning("look %d at %s failed: %r", failures, self.prefix, error)
                found = False
            if found:
                yield TriggerEvent({"prefix": self.prefix})
                return
            await asyncio.sleep(look_pause(self.poll_seconds, 1, failures, random.uniform))

    async def _found(self) -> bool:
        """Look for a manifest, a note of an upload that has not ended, any file: in this order.

        Listed, not read: whoever waits for a snapshot needs no right to its content.
        """
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        hook = S3Hook(aws_conn_id=None, region_name=self.region)
        async with await hook.get_async_conn() as client:
            for name, is_there in ((MANIFEST, True), (UPLOADING, False), ("", True)):
                answer = await client.list_objects_v2(
                    Bucket=self.bucket, Prefix=f"{self.prefix}{name}", MaxKeys=1
                )
                if answer.get("KeyCount"):
                    return is_there
        return False


def _hook(region: str) -> Any:  # noqa: ANN401 - the provider's hook is untyped here
    """Return a hook that takes credentials and endpoint from boto3's own chain, no connection.

    One attempt a call: the pauses between looks are the back-off, and botocore's own would hide
    from them that EMR throttles.
    """
    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from botocore.config import Config

    config = Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 1})
    return EmrHook(aws_conn_id=None, emr_conn_id=None, region_name=region, config=config)

"""Wait for a snapshot to land, without holding a worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, TaskDeferralTimeout

from recommender import environment
from recommender.lake import snapshots
from recsys_emr.triggers import SnapshotTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

_POLL_SECONDS = 60.0  # a snapshot is hours in the making; a list call a minute is free


class WaitForSnapshot(BaseOperator):
    """Pass when the run's snapshot is there, and not still being uploaded.

    A scheduled run comes early and waits; a backfill or a run that names its snapshot is about
    the past, where waiting is of no use: it fails at once and names the nearest snapshots.

    Args:
        run: what ``resolve_run`` returned.
        dataset: folder of the lake.
        wait_hours: how long a scheduled run waits.
    """

    template_fields: Sequence[str] = ("run",)

    def __init__(
        self,
        *,
        run: Any,  # noqa: ANN401 - an XComArg until the task runs
        dataset: str,
        wait_hours: float,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.dataset = dataset
        self.wait_hours = wait_hours

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Look once; then wait, or fail with the nearest dates."""
        env = environment.load()
        date = snapshots.parse_date(self.run["snapshot"])
        if snapshots.is_present(env.locations, self.dataset, date):
            self.log.info("snapshot %s is there", self.run["snapshot_uri"])
            return
        if not self.run["may_wait"]:
            raise AirflowFailException(str(snapshots.missing(env.locations, self.dataset, date)))
        uri = urlsplit(self.run["snapshot_uri"])
        self.log.info("waiting up to %g h for %s", self.wait_hours, self.run["snapshot_uri"])
        self.defer(
            trigger=SnapshotTrigger(
                uri.netloc, uri.path.strip("/") + "/", env.emr.region, _POLL_SECONDS
            ),
            method_name="resume",
            timeout=timedelta(hours=self.wait_hours),
        )

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Turn Airflow's time-out into an error that names what is there instead."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            date = snapshots.parse_date(self.run["snapshot"])
            missing = snapshots.missing(environment.load().locations, self.dataset, date)
            message = f"waited {self.wait_hours:g} h: {missing}"
            raise AirflowFailException(message) from error

    def resume(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002
        """Say that the snapshot came."""
        self.log.info("snapshot %s is there", self.run["snapshot_uri"])

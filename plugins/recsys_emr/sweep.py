"""Find the clusters whose DAG run is over, and terminate them: the last lock against orphans.

The other locks end a cluster from within (its steps travel with it, keep-alive is off), after idle
time, and by the teardown and the trigger of its own run. This one is for what they cannot see: a
run deleted, a worker lost for good, a scheduler that never came back.

Only clusters with all four tags of an owner are looked at, and only those of this Airflow's own
work area: another Airflow in the same account has runs of the same names.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow.sdk.exceptions import AirflowException

from recommender import environment
from recsys_emr import clusters
from recsys_emr.clusters import Found

if TYPE_CHECKING:
    from airflow.sdk import Context
    from mypy_boto3_emr import EMRClient

log = logging.getLogger(__name__)

Action = Literal["kept", "would terminate", "terminated", "failed"]
UNDER_WAY = ["queued", "running"]
# (dag_id, run_id) -> whether Airflow still has the run under way, queued included.
RunsOn = Callable[[str, str], bool]


@dataclass(frozen=True)
class Swept:
    """Say what was done with one live cluster, and why."""

    cluster: Found
    action: Action
    why: str


def sweep_now(context: Context) -> dict[str, int]:
    """Do what the hourly task does: ask Airflow and EMR, sweep, log the table, return the counts.

    Raises:
        AirflowException: a cluster could not be terminated; all others have been settled.
    """
    env, ti, params = environment.load(), context["ti"], context["params"]
    now = dt.datetime.now(dt.UTC)
    swept = sweep(
        clusters.emr_client(env.emr.region),
        env.work,
        # Airflow's own answer by way of the task's API; a run that was deleted counts 0.
        lambda dag, run: bool(ti.get_dr_count(dag_id=dag, run_ids=[run], states=UNDER_WAY)),
        grace=dt.timedelta(minutes=params["grace_minutes"]),
        dry_run=params["dry_run"],
        now=now,
    )
    log.info("live clusters of %s:\n%s", env.work, table(swept, now))
    numbers = counts(swept)
    ti.xcom_push("counts", numbers)
    if numbers["failed"]:
        message = f"{numbers['failed']} clusters could not be terminated; the log's table says why"
        raise AirflowException(message)
    return numbers


def sweep(
    client: EMRClient,
    work: str,
    runs_on: RunsOn,
    *,
    grace: dt.timedelta,
    dry_run: bool,
    now: dt.datetime,
) -> list[Swept]:
    """Terminate every live cluster of ours whose DAG run is no longer under way.

    A cluster that cannot be terminated does not save the next one.

    Args:
        client: EMR client that retries what it is throttled for.
        work: this Airflow's work area; clusters of others are not touched.
        runs_on: asks Airflow about a run. An error there ends the sweep: not knowing is no reason
            to terminate.
        grace: age below which a cluster is not looked at; its own teardown may be about to act.
        dry_run: only say what would be done.
        now: the time, with a zone.
    """
    return [
        _settle(client, found, runs_on, dry_run=dry_run)
        for found in clusters.tagged_live(client, work, now - grace)
    ]


def _settle(client: EMRClient, found: Found, runs_on: RunsOn, *, dry_run: bool) -> Swept:
    owner = found.owner()
    if owner is None:  # `tagged_live` yields none of these; nobody's cluster is never touched
        return Swept(found, "kept", "it does not carry our tags")
    stage = owner.stage
    if runs_on(stage.dag_id, stage.run_id):
        return Swept(found, "kept", "its run is under way")
    why = f"no run {stage.run_id} of {stage.dag_id} is under way"
    if dry_run:
        return Swept(found, "would terminate", why)
    try:
        clusters.terminate(client, found.cluster_id)
    except Exception as error:  # noqa: BLE001 - reported below, once all others are settled
        return Swept(found, "failed", f"{why}, but: {error}")
    return Swept(found, "terminated", why)


def table(swept: Sequence[Swept], now: dt.datetime) -> str:
    """Return one line for each cluster, oldest first."""
    if not swept:
        return "no live cluster of ours is older than the grace"
    rows = [("cluster", "state", "hours", "action", "name", "why")]
    for entry in sorted(swept, key=lambda entry: entry.cluster.created):
        found = entry.cluster
        hours = f"{(now - found.created).total_seconds() / 3600:.1f}"
        row = (found.cluster_id, found.state, hours, entry.action, found.name, entry.why)
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]])
        for row in rows
    )


def counts(swept: Sequence[Swept]) -> dict[str, int]:
    """Return how many clusters were looked at, and how many met each fate."""
    fates: tuple[Action, ...] = ("kept", "would terminate", "terminated", "failed")
    actions = [entry.action for entry in swept]
    return {"seen": len(swept), **{f.replace(" ", "_"): actions.count(f) for f in fates}}

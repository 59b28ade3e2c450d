"""Terminate EMR clusters that outlived their DAG run.

**What happens.** Once an hour, every live cluster that carries the tags `recsys:dag`, `recsys:run`,
`recsys:stage` and `recsys:work` of *this* Airflow's work area is held against Airflow: if its DAG
run is neither running nor queued (ended, failed, deleted), the cluster is terminated. Nothing else
is ever touched: no cluster without the tags, none of another work area.

**Where to look.** The task's log shows a table of all clusters seen, each with what was done and
why; its XCom holds the counts. More than zero `terminated` means that the other locks (keep-alive
off, idle time-out, teardown, kill-aware wait) have missed one: look at that run.

**Trying it.** Trigger with *Dry run* to see what would be terminated.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param, get_current_context, task

with DAG(
    dag_id="sweep_clusters",
    description="Terminates EMR clusters whose DAG run is over.",
    doc_md=__doc__,
    schedule="23 * * * *",  # not on the hour, when other schedules ask EMR for clusters
    start_date=dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # a lock that has to be switched on is none
    default_args={
        "owner": "platform",
        "retries": 2,
        "retry_delay": dt.timedelta(minutes=2),
        "execution_timeout": dt.timedelta(minutes=15),
    },
    params={
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Only say which clusters would be terminated. Off on schedule.",
        ),
        "grace_minutes": Param(
            10,
            type="integer",
            minimum=0,
            maximum=1440,
            title="Grace",
            description="Age in minutes below which a cluster is left alone: its own run's "
            "teardown may be about to terminate it.",
        ),
    },
    tags=["recommender", "operations"],
) as dag:

    @task
    def sweep() -> dict[str, int]:
        """Hold every live cluster of ours against Airflow; terminate what is nobody's any more."""
        from recsys_emr.sweep import sweep_now

        return sweep_now(get_current_context())

    sweep()

"""Build the parts that DAGs with clusters share: a stage on a cluster, the last task, defaults."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, get_current_context, task

from recsys_emr import pipeline, spending
from recsys_emr.costs import Allowance
from recsys_emr.operators import SubmitCluster, TerminateCluster, WaitForCluster

# Retries are for what a second attempt can mend: a lost connection, a throttled call. Bad data and
# our own named errors fail at once, and a submit that is retried adopts the cluster it has made.
DEFAULT_ARGS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": dt.timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": dt.timedelta(minutes=10),
    "execution_timeout": dt.timedelta(minutes=15),
}

# When a stage never starts, Airflow skips its `price`. By the default rule, a task behind it would be
# skipped too if that is seen first, and a run in which something failed would end green.
AFTER_PRICE = "none_failed"


def on_cluster(
    stage: str,
    shape: Any,  # noqa: ANN401 - a name, or an XComArg
    code: Any,  # noqa: ANN401 - an XComArg
    plan: Any,  # noqa: ANN401 - an XComArg
    allowance: Allowance,
) -> tuple[Any, Any]:
    """Run a stage on a cluster of its own: submit (setup), wait, price, terminate (teardown).

    Args:
        stage: its name.
        shape: the environment's cluster shape.
        code: what ``stage_code`` returned.
        plan: what ``plan_*`` returned.
        allowance: what the run may cost; a further attempt that it does not hold is not made.

    Returns:
        The wait, after which the stage's output is there, and what the cluster has cost.
    """

    @task(trigger_rule="all_done")  # a cluster that failed has cost money, too
    def price(shape: str | None) -> dict[str, Any]:
        """Say what the stage's clusters have cost: one, or more after a retry; none without a plan."""
        return spending.price_stage(stage, shape, get_current_context())

    with TaskGroup(group_id=stage):
        submit = SubmitCluster(task_id="submit", stage=stage, shape=shape, code=code, plan=plan)
        wait = WaitForCluster(
            task_id="wait",
            cluster_id=submit.output,
            shape=shape,
            plan=plan,
            stage=stage,
            code=code,
            allowance=allowance,
            execution_timeout=None,  # it would count the hours of the wait; the shape has its own
        )
        paid: Any = price(shape)
        terminate = TerminateCluster(task_id="terminate", cluster_id=submit.output, stage=stage)
        submit >> wait >> [paid, terminate.as_teardown(setups=submit)]
    return wait, paid


def plan_only() -> Param:
    """Return the field that ends a run after its plan."""
    return Param(
        False,
        type="boolean",
        title="Plan only",
        description="Say what the run would ask for and cost (log and XCom of the task plan), and "
        "create nothing.",
    )


def judge(dag: DAG) -> None:
    """Let a last task say how the run has ended: red as soon as any task has failed.

    Airflow looks at the last tasks only. When a person marks a run as failed, it skips what has not
    begun, except for the teardowns; once those have run, all last tasks are skipped and the run would
    be green. So the last task is one that Airflow does not skip.
    """
    judged, ends = [one.task_id for one in dag.tasks if not one.is_teardown], list(dag.leaves)

    @task
    def judge_run() -> None:
        """Fail if a task of the run has failed."""
        pipeline.judge_run(get_current_context(), judged)

    last: Any = judge_run()
    ends >> last.as_teardown(on_failure_fail_dagrun=True)

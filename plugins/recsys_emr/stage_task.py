"""Do what the tasks of a stage share: whose cluster it is, its request, its links, its pauses."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowFailException

from recommender import manifest
from recommender.clusters.staging import StagedCode
from recommender.environment import Environment
from recommender.errors import ConfigError, ManifestError
from recsys_emr import clusters, links, pace, retry
from recsys_emr.classify import classify_refusal
from recsys_emr.clusters import Owner
from recsys_emr.failures import Failure, Kind
from recsys_emr.failures import failure as failure_of
from recsys_emr.job_flow import Stage, Step, run_job_flow

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from botocore.exceptions import ClientError


def owner_of(context: Context, env: Environment, stage: str) -> Owner:
    """Return whose cluster it is: this Airflow's, this DAG run's, this stage's."""
    dag_run = context["dag_run"]
    return Owner(env.work, Stage(dag_run.dag_id, dag_run.run_id, stage))


def series_of(context: Context) -> int:
    """Return what all retries of this task share and a Clear changes; see ``launch``."""
    return int(context["ti"].max_tries)


def build_request(
    env: Environment, stage: Stage, shape: str, code: Mapping[str, str], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the stage's RunJobFlow request.

    Raises:
        AirflowFailException: the configuration makes no valid request; no retry mends that.
    """
    steps = [Step(step["job"], step["arguments"]) for step in plan["steps"]]
    try:
        return run_job_flow(env, env.shape(shape), stage, StagedCode(**code), steps)
    except ConfigError as error:
        raise AirflowFailException(str(error)) from error


def store_links(context: Context, env: Environment, cluster_id: str) -> None:
    """Keep the URLs behind the task's two buttons."""
    task_instance = context["ti"]
    region, log_root = env.emr.region, env.locations.emr_logs
    task_instance.xcom_push(links.CLUSTER_KEY, links.cluster_url(region, cluster_id))
    task_instance.xcom_push(links.LOGS_KEY, links.logs_url(region, log_root, cluster_id))


def defer_for(
    task: BaseOperator, failed: int, unit: float, method: str, kwargs: dict[str, Any]
) -> None:
    """Give the worker back and come again after the back-off of a failed attempt."""
    seconds = pace.back_off(failed, unit, random.uniform)
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    task.log.info("trying again at %s", moment.isoformat(timespec="seconds"))
    task.defer(trigger=DateTimeTrigger(moment=moment), method_name=method, kwargs=kwargs)


def after_refusal(
    task: BaseOperator,
    error: ClientError,
    refusals: int,
    unit: float,
    method: str,
    kwargs: dict[str, Any],
) -> None:
    """Deal with an answer by which EMR refused to make a cluster; return only after a 5xx.

    A throttled call is asked again after a pause. So is one above the quota of clusters at a time:
    the next one may end any moment. Whatever else EMR refuses it refuses again.

    Args:
        task: the task that asked.
        error: the answer.
        refusals: how often it has been refused before.
        unit: seconds, the environment's ``poll_seconds``.
        method: where to go on after a pause.
        kwargs: with which arguments, beside ``refusals``.

    Raises:
        TaskDeferred: to pause.
        AirflowFailException: the refusal is final.
    """
    failure = classify_refusal(error)
    passing = failure.kind in {Kind.THROTTLED, Kind.CAPACITY}
    if passing and refusals < retry.REFUSALS:
        task.log.warning("EMR refused to make a cluster: %s", failure)
        defer_for(task, refusals + 1, unit, method, {**kwargs, "refusals": refusals + 1})
    if not clusters.answer_lost(error):
        raise AirflowFailException(str(failure)) from error


def end_unwatched(
    context: Context, env: Environment, stage: str | None, cluster_id: str, minutes: float
) -> Failure:
    """Terminate a stage's clusters after Airflow's own limit; return what to say of it."""
    client = clusters.emr_client(env.emr.region)
    clusters.terminate(client, cluster_id)
    if stage is not None:
        clusters.terminate_stage(client, owner_of(context, env, stage))
    text = (
        f"nobody watched the stage's cluster for longer than its limit of {minutes:g} minutes: is "
        "the triggerer running? The cluster is being terminated."
    )
    return failure_of(Kind.TIME_OUT, text)


def check_output(plan: Mapping[str, Any], cluster_id: str) -> None:
    """Check that the cluster left behind what the plan says: each directory with its manifest.

    Raises:
        AirflowFailException: a manifest is missing or of another kind.
    """
    for directory, kind in plan["produces"].items():
        try:
            manifest.read(directory, kind)
        except ManifestError as error:
            text = f"every step of cluster {cluster_id} completed, but {error}"
            raise AirflowFailException(str(failure_of(Kind.NO_OUTPUT, text))) from error

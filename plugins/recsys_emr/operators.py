"""Submit a stage's cluster, wait for its end, terminate it: three tasks, one cluster.

The provider's own operators cannot be used for this: their deferrable wait forgets what it waits
for, leaves the cluster running when the task is killed, and takes RUNNING for success.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from recommender import environment, manifest
from recommender.errors import ManifestError
from recommender.staging import StagedCode
from recsys_emr import clusters, links, logs
from recsys_emr.job_flow import Stage, Step, run_job_flow
from recsys_emr.outcome import judge
from recsys_emr.triggers import ClusterEndTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class SubmitCluster(BaseOperator):
    """Create the cluster of a stage, or adopt the live one of this run and stage.

    RunJobFlow has no idempotency token, so its call is never repeated blindly: a retry of this
    task looks for a live cluster by tag first. Returns the cluster's id.

    Args:
        stage: name of the stage, part of the cluster's name and tags.
        shape: name of the environment's cluster shape.
        code: what ``stage_code`` returned: {"uri", "content_hash"}.
        plan: what ``plan_*`` returned; "steps" are jobs in order, each {"job", "arguments"}.
    """

    template_fields: Sequence[str] = ("code", "plan")
    operator_extra_links = (links.ClusterLink(), links.LogsLink())
    ui_color = "#e6f2ff"

    def __init__(
        self,
        *,
        stage: str,
        shape: str,
        code: Any,  # noqa: ANN401 - an XComArg until the task runs
        plan: Any,  # noqa: ANN401 - an XComArg until the task runs
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.shape = shape
        self.code = code
        self.plan = plan

    def execute(self, context: Context) -> str:
        """Create or adopt, store the links, return the cluster's id."""
        env = environment.load()
        stage = stage_of(context, self.stage)
        client = clusters.emr_client(env.emr.region)
        steps = [Step(step["job"], step["arguments"]) for step in self.plan["steps"]]
        request = run_job_flow(env, env.shape(self.shape), stage, StagedCode(**self.code), steps)
        cluster_id = clusters.find_live(client, stage)
        if cluster_id:
            self.log.info("cluster %s already serves this run and stage: adopted", cluster_id)
        else:
            self.log.info("RunJobFlow %s", json.dumps(request, indent=2))
            cluster_id = str(client.run_job_flow(**request)["JobFlowId"])
            self.log.info("cluster %s was created", cluster_id)
        store_links(context, env, cluster_id)
        return cluster_id


class WaitForCluster(BaseOperator):
    """Wait, without holding a worker, until a cluster has ended well; explain when it has not.

    Args:
        cluster_id: the cluster to wait for.
        shape: name of the cluster shape; its time limit counts from the cluster's creation.
        plan: what ``plan_*`` returned; "produces" is directory -> kind of the manifest that has
            to be there at the end.
    """

    template_fields: Sequence[str] = ("cluster_id", "plan")
    operator_extra_links = (links.ClusterLink(), links.LogsLink())
    ui_color = "#e6f2ff"

    def __init__(
        self,
        *,
        cluster_id: Any,  # noqa: ANN401 - an XComArg until the task runs
        shape: str,
        plan: Any,  # noqa: ANN401 - an XComArg until the task runs
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.shape = shape
        self.plan = plan

    def execute(self, context: Context) -> NoReturn:
        """Hand the wait to the triggerer."""
        env = environment.load()
        store_links(context, env, self.cluster_id)
        minutes = env.shape(self.shape).minutes
        trigger = ClusterEndTrigger(
            self.cluster_id, env.emr.region, env.emr.poll_seconds, minutes * 60
        )
        # The trigger keeps the stage's limit itself, with a message; this is the net below it.
        self.defer(trigger=trigger, method_name="resume", timeout=timedelta(minutes=minutes + 15))

    def resume(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002
        """Judge the end of the cluster and check what it had to leave behind."""
        if "error" in event:
            message = f"could not wait for cluster {self.cluster_id}: {event['error']}"
            raise AirflowException(message)
        if event.get("late"):
            message = (
                f"cluster {self.cluster_id} has not ended within {event['limit_minutes']:.0f} "
                f"minutes and is being terminated; raise `minutes` of shape {self.shape!r}, or "
                "give the shape more capacity"
            )
            raise AirflowFailException(message)
        env = environment.load()
        cluster, steps = clusters.describe(clusters.emr_client(env.emr.region), self.cluster_id)
        outcome = judge(cluster, steps)
        if not outcome.succeeded:
            for step in outcome.failed:
                if step.state == "FAILED":
                    self._show_logs(env.locations.emr_logs, step.step_id)
            raise AirflowFailException(outcome.explain(self.cluster_id))
        for directory, kind in self.plan["produces"].items():
            self._check(directory, kind)
        self.log.info("cluster %s ended well: %s", self.cluster_id, outcome.message)

    def _show_logs(self, root: str, step_id: str) -> None:
        for stream in logs.STREAMS:
            uri = logs.step_log(root, self.cluster_id, step_id, stream)
            self.log.error("last lines of %s:\n%s", uri, logs.tail(uri))

    def _check(self, directory: str, kind: str) -> None:
        try:
            manifest.read(directory, kind)
        except ManifestError as error:
            message = f"every step of cluster {self.cluster_id} completed, but {error}"
            raise AirflowFailException(message) from error


class TerminateCluster(BaseOperator):
    """Terminate a cluster unless it has ended; a teardown, content with every end state."""

    template_fields: Sequence[str] = ("cluster_id",)

    def __init__(self, *, cluster_id: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        super().__init__(**kwargs)
        self.cluster_id = cluster_id

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Ask EMR to terminate what still lives."""
        client = clusters.emr_client(environment.load().emr.region)
        state = clusters.terminate(client, self.cluster_id)
        self.log.info("cluster %s was %s", self.cluster_id, state)


def stage_of(context: Context, name: str) -> Stage:
    """Return whose cluster it is: this DAG run's, this stage's."""
    dag_run = context["dag_run"]
    return Stage(dag_run.dag_id, dag_run.run_id, name)


def store_links(context: Context, env: environment.Environment, cluster_id: str) -> None:
    """Keep the URLs behind the task's two buttons."""
    task_instance = context["ti"]
    region, log_root = env.emr.region, env.locations.emr_logs
    task_instance.xcom_push(links.CLUSTER_KEY, links.cluster_url(region, cluster_id))
    task_instance.xcom_push(links.LOGS_KEY, links.logs_url(region, log_root, cluster_id))

"""Submit a stage's cluster, wait for its end, terminate it: three tasks, one cluster at a time.

The provider's own operators cannot be used for this: their deferrable wait forgets what it waits
for, leaves the cluster running when the task is killed, and takes RUNNING for success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from recommender import environment
from recsys_emr import clusters, launch, links
from recsys_emr.launch import Ticket
from recsys_emr.outcome import LIVE_STATES
from recsys_emr.stage_task import after_refusal, build_request, owner_of, series_of, store_links
from recsys_emr.waiting import WaitForCluster

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["SubmitCluster", "TerminateCluster", "WaitForCluster"]


class SubmitCluster(BaseOperator):
    """Create the cluster of a stage, or adopt the one that this task has made before.

    ``launch`` has the rule. A throttled RunJobFlow is asked again after a pause without a worker;
    any other refusal fails the task at once, because the same request is refused again. Returns
    the cluster's id.

    Args:
        stage: name of the stage, part of the cluster's name and tags.
        shape: name of the environment's cluster shape.
        code: what ``stage_code`` returned: {"uri", "content_hash"}.
        plan: what ``plan_*`` returned; "steps" are jobs in order, each {"job", "arguments"}.
    """

    template_fields: Sequence[str] = ("shape", "code", "plan")
    operator_extra_links = (links.ClusterLink(), links.LogsLink())
    ui_color = "#e6f2ff"

    def __init__(
        self,
        *,
        stage: str,
        shape: Any,  # noqa: ANN401 - a name, or an XComArg until the task runs
        code: Any,  # noqa: ANN401 - an XComArg until the task runs
        plan: Any,  # noqa: ANN401 - an XComArg until the task runs
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.shape = shape
        self.code = code
        self.plan = plan
        self._owner: clusters.Owner | None = None
        self._killed = False

    def execute(self, context: Context) -> str:
        """Create or adopt, store the links, return the cluster's id."""
        return self.submit(context, refusals=0)

    def submit(self, context: Context, refusals: int, event: Any = None) -> str:  # noqa: ANN401, ARG002 - the pause's event says nothing
        """Ask for the cluster; the entry after a pause, too."""
        from botocore.exceptions import ClientError

        env = environment.load()
        owner = self._owner = owner_of(context, env, self.stage)
        request = build_request(env, owner.stage, self.shape, self.code, self.plan)
        ticket = Ticket(series_of(context))
        try:
            cluster_id = launch.ensure(
                env.emr.region, request, owner, ticket, killed=lambda: self._killed
            )
        except ClientError as error:
            after_refusal(self, error, refusals, env.emr.poll_seconds, "submit", {})
            raise  # a 5xx: the retry looks for the cluster before it asks again
        store_links(context, env, cluster_id)
        return cluster_id

    def on_kill(self) -> None:
        """Terminate what was made: without a success of this task its teardown will not run."""
        self._killed = True
        if self._owner is not None:
            client = clusters.emr_client(environment.load().emr.region)
            for found in clusters.terminate_stage(client, self._owner):
                self.log.warning("task was killed: terminating cluster %s", found.cluster_id)


class TerminateCluster(BaseOperator):
    """Terminate what still lives of a stage; a teardown, content with every end state.

    Args:
        cluster_id: the cluster that the submit task returned; None if it never did.
        stage: name of the stage, to find also clusters whose ids never reached Airflow (a lost
            answer) and later attempts. None: only the cluster named.
    """

    template_fields: Sequence[str] = ("cluster_id",)

    def __init__(self, *, cluster_id: Any, stage: str | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - an XComArg until the task runs
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.stage = stage

    def execute(self, context: Context) -> None:
        """Ask EMR to terminate what still lives."""
        env = environment.load()
        client = clusters.emr_client(env.emr.region)
        if self.cluster_id:
            state = clusters.terminate(client, self.cluster_id)
            if state in LIVE_STATES:
                self.log.warning("cluster %s was still %s: terminating it", self.cluster_id, state)
            else:
                self.log.info("cluster %s was %s", self.cluster_id, state)
        if self.stage is not None:
            for found in clusters.terminate_stage(client, owner_of(context, env, self.stage)):
                self.log.warning("cluster %s still lived: terminating it", found.cluster_id)

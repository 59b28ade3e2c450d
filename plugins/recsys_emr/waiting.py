"""Wait for a stage's cluster without a worker, judge its end, and try again what may go better."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferralTimeout

from recommender import environment
from recommender.environment import Environment
from recommender.errors import ConfigError
from recsys_emr import clusters, launch, links, retry, spending
from recsys_emr.costs import Allowance, BudgetError
from recsys_emr.explain import explain, explain_late, message
from recsys_emr.failures import Failure, Kind
from recsys_emr.launch import Ticket
from recsys_emr.outcome import Outcome, judge
from recsys_emr.stage_task import (
    after_refusal,
    build_request,
    check_output,
    defer_for,
    end_unwatched,
    owner_of,
    store_links,
)
from recsys_emr.triggers import ClusterEndTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

# EMR delivers logs minutes late. The environment's pace says how late "late" is: 12 looks are six
# minutes on a real account and six seconds beside an embedded one.
_LOG_LOOKS = 12
ATTEMPTS_KEY = "attempts"


class WaitForCluster(BaseOperator):
    """Wait until a stage's cluster has ended well; explain when it has not, and perhaps try again.

    The submit task makes the first cluster, this task the next ones: after a lack of capacity, a
    loss of machines or throttling, after a pause without a worker, with other machines, at most
    ``attempts`` in all and none that the run's budget does not hold. Each has a ticket among its tags, so that this task, killed at any moment
    and retried by Airflow, goes on with the latest and never asks twice. XCom ``attempts`` lists
    them: ``[{"cluster_id", "attempt", "kind"}]``, ``kind`` being why it failed or null.

    Killing the deferred task (mark failed, mark success, Clear) terminates the cluster.

    Args:
        cluster_id: the cluster that the submit task returned.
        shape: name of the cluster shape; its time limit counts from each cluster's creation.
        plan: what ``plan_*`` returned; "produces" is directory -> kind of the manifest that has
            to be there at the end; "spent", if there, is what the stages before have cost.
        stage: name of the stage. Without it and ``code`` there is one attempt.
        code: what ``stage_code`` returned: {"uri", "content_hash"}.
        attempts: clusters that the stage may cost.
        allowance: what the run may cost, held before each further attempt.
    """

    template_fields: Sequence[str] = ("cluster_id", "shape", "plan", "code")
    operator_extra_links = (links.ClusterLink(), links.LogsLink())
    ui_color = "#e6f2ff"

    def __init__(
        self,
        *,
        cluster_id: Any,  # noqa: ANN401 - an XComArg until the task runs
        shape: Any,  # noqa: ANN401 - a name, or an XComArg until the task runs
        plan: Any,  # noqa: ANN401 - an XComArg until the task runs
        stage: str | None = None,
        code: Any = None,  # noqa: ANN401 - an XComArg until the task runs
        attempts: int = retry.ATTEMPTS,
        allowance: Allowance = Allowance(),  # noqa: B008 - frozen
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.shape = shape
        self.plan = plan
        self.stage = stage
        self.code = code
        self.attempts = attempts
        self.allowance = allowance
        self._killed = False

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Find the attempt that is under way and hand the wait to the triggerer."""
        env = environment.load()
        # A first try has nothing to find, and ListClusters is EMR's scarcest call (0.5/s).
        look = self.stage is not None and context["ti"].try_number > 1
        owner = owner_of(context, env, str(self.stage)) if look else None
        client = clusters.emr_client(env.emr.region)
        history, series = launch.attempts_so_far(client, self.cluster_id, owner)
        self._watch(context, env, history, series)

    def resume(
        self,
        context: Context,
        event: dict[str, Any],
        history: list[dict[str, Any]] | None = None,
        series: int | None = None,
    ) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Judge the end of the cluster, check what it had to leave behind, or try again."""
        env = environment.load()
        if history is None or series is None:
            history, series = self._recall(context, env)
        cluster_id = history[-1]["cluster_id"]
        if "error" in event:
            kind = AirflowException if event["passing"] else AirflowFailException
            raise kind(f"could not watch cluster {cluster_id}: {event['error']}")
        client = clusters.emr_client(env.emr.region)
        outcome = judge(*clusters.describe(client, cluster_id))
        root, patience = env.locations.emr_logs, env.emr.poll_seconds * _LOG_LOOKS
        if outcome.succeeded:
            check_output(self.plan, cluster_id)
            self.log.info("cluster %s ended well: %s", cluster_id, outcome.message)
            return
        if event.get("late"):
            failure = explain_late(outcome, cluster_id, root, patience, event["limit_minutes"])
        else:
            failure = explain(outcome, cluster_id, root, patience)
        self._failed(context, env, history, series, outcome, failure)

    def relaunch(
        self,
        context: Context,
        history: list[dict[str, Any]] | None = None,
        series: int | None = None,
        lost_subnet: str = "",
        refusals: int = 0,
        event: Any = None,  # noqa: ANN401, ARG002 - the pause's event says nothing
    ) -> NoReturn:
        """Ask for the next attempt's cluster, or find it, and wait for it."""
        from botocore.exceptions import ClientError

        env = environment.load()
        if history is None or series is None:
            history, series = self._recall(context, env)
        last, kind = history[-1]["attempt"], Kind(history[-1]["kind"])
        ticket = Ticket(series, last + 1)
        owner = owner_of(context, env, str(self.stage))
        request = build_request(env, owner.stage, self.shape, self.code, self.plan)
        request = retry.fallback(request, ticket.attempt, kind, lost_subnet)
        try:
            cluster_id = launch.ensure(
                env.emr.region, request, owner, ticket, killed=lambda: self._killed
            )
        except ClientError as error:
            again = {"history": history, "series": series, "lost_subnet": lost_subnet}
            after_refusal(self, error, refusals, env.emr.poll_seconds, "relaunch", again)
            raise
        self._watch(context, env, [*history, launch.attempt(cluster_id, ticket)], series)

    def on_kill(self) -> None:
        """Remember it: a cluster that is being created this moment is terminated once it is known.

        One that is known already is the trigger's to terminate, or the teardown's.
        """
        self._killed = True

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Terminate the stage's clusters when Airflow's own limit ends the wait."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            env = environment.load()
            minutes = env.shape(self.shape).minutes
            failure = end_unwatched(context, env, self.stage, self.cluster_id, minutes)
            raise AirflowFailException(str(failure)) from error

    def _recall(self, context: Context, env: Environment) -> tuple[list[dict[str, Any]], int]:
        """Take the attempts from XCom: ``airflow dags test`` hands a resumed task its event only."""
        task_instance = context["ti"]
        history = task_instance.xcom_pull(task_ids=task_instance.task_id, key=ATTEMPTS_KEY)
        client = clusters.emr_client(env.emr.region)
        first, series = launch.attempts_so_far(client, self.cluster_id, None)
        return history or first, series

    def _watch(
        self, context: Context, env: Environment, history: list[dict[str, Any]], series: int
    ) -> NoReturn:
        cluster_id = history[-1]["cluster_id"]
        store_links(context, env, cluster_id)
        context["ti"].xcom_push(ATTEMPTS_KEY, history)
        minutes = env.shape(self.shape).minutes
        trigger = ClusterEndTrigger(cluster_id, env.emr.region, env.emr.poll_seconds, minutes * 60)
        # The trigger keeps the stage's limit itself, with a message; this is the net below it.
        self.defer(
            trigger=trigger,
            method_name="resume",
            kwargs={"history": history, "series": series},
            timeout=timedelta(minutes=minutes + 15),
        )

    def _failed(
        self,
        context: Context,
        env: Environment,
        history: list[dict[str, Any]],
        series: int,
        outcome: Outcome,
        failure: Failure,
    ) -> NoReturn:
        """Try again after a pause if that may go better, else fail for good."""
        attempt, cluster_id = history[-1]["attempt"], history[-1]["cluster_id"]
        history[-1]["kind"] = str(failure.kind)
        context["ti"].xcom_push(ATTEMPTS_KEY, history)
        able = self.stage is not None and self.code is not None
        text = message(outcome, failure, cluster_id, env.locations.emr_logs)
        if able and retry.may_retry(failure.kind, attempt, self.attempts):
            self._hold_budget(env, history, text)
            self.log.warning("attempt %d of %d failed: %s", attempt, self.attempts, failure)
            kwargs = {"history": history, "series": series, "lost_subnet": outcome.subnet}
            defer_for(self, attempt, env.emr.poll_seconds, "relaunch", kwargs)
        raise AirflowFailException(text)

    def _hold_budget(self, env: Environment, history: list[dict[str, Any]], text: str) -> None:
        """Fail for good, with both reasons, when the budget does not hold another attempt.

        Nothing is spent in the pause that follows, so this holds for its end, too.
        """
        tried = [attempt["cluster_id"] for attempt in history]
        spent = self.plan.get("spent", [])
        try:
            spending.hold_attempt(self.allowance, env, self.shape, spent, tried)
        except (BudgetError, ConfigError) as error:
            refusal = f"  attempt {len(tried) + 1} of {self.attempts} is not made: {error}"
            raise AirflowFailException(f"{text}\n{refusal}") from error

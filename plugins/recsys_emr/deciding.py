"""Judge a candidate and publish it; measure it again when another run has moved the champion.

Runs over several snapshots may be under way at once (a backfill, a late night). Each is measured
against the champion of the moment at which its training begins; one of them is first, and the report
of the others is then about a champion that is none any more. An older snapshot than the new
champion's registers all the same. A newer one would replace a champion that it was never compared
with, so it is measured again: a cluster of its own evaluates the same candidate, and the gate decides anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.sdk.exceptions import AirflowFailException

from recommender import environment
from recommender.config import Recommender
from recommender.gate import Decision
from recsys_emr import approval, assets, clusters, launch, pages, pipeline, spending, stages
from recsys_emr.classify import classify_refusal
from recsys_emr.launch import Ticket
from recsys_emr.stage_task import build_request, owner_of, series_of
from recsys_emr.waiting import WaitForCluster

if TYPE_CHECKING:
    from airflow.sdk import Context

MEASUREMENTS = 3
"""Times a task measures again; each means that yet another run was first meanwhile."""

ROUNDS_KEY = "measured_again"


class MeasureAgain(WaitForCluster):
    """Be able to evaluate the run's candidate against the champion of now, without a worker.

    Each measurement is a stage of its own (``measure_for_gate_1`` and so on), so that its cluster is
    found, priced and swept as any other. XCom ``measured_again`` lists them.

    Args:
        recommender: its configuration.
        paths: what ``resolve_run`` returned.
        code: what ``stage_code`` returned.
        spent: what the clusters before have cost.
    """

    # Not those of a wait: which cluster, and what it does, is known only in the task.
    template_fields: Sequence[str] = ("paths", "code", "spent")

    def __init__(
        self,
        *,
        recommender: Recommender,
        paths: Any,  # noqa: ANN401 - an XComArg until the task runs
        code: Any,  # noqa: ANN401 - an XComArg until the task runs
        spent: Any = (),  # noqa: ANN401 - XComArgs until the task runs
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        # Until the task runs and looks which one the training took.
        shape = recommender.clusters.train
        super().__init__(cluster_id=None, plan=None, shape=shape, code=code, **kwargs)
        self.recommender = recommender
        self.paths = paths
        self.spent = spent

    def go_on(self, context: Context) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Decide anew, now that the report is measured again."""
        raise NotImplementedError

    def decide(self, context: Context) -> dict[str, Any]:
        """Judge the report that is there; what was measured again is paid for, too."""
        params = dict(context["params"])
        return pipeline.decide(self.recommender, self.paths, params, self._paid(context))

    def measure_again(self, context: Context) -> NoReturn:
        """Start a cluster that evaluates against the champion of now, and wait for it."""
        from botocore.exceptions import ClientError

        rounds = self._rounds(context)
        if len(rounds) >= MEASUREMENTS:
            message = (
                f"the champion kept moving through {MEASUREMENTS} measurements; clear this task"
            )
            raise AirflowFailException(message)
        env, paid = environment.load(), self._paid(context)
        spending.hold_budget(self.recommender, paid, self.shape)
        champion = pipeline.champion_uri(self.recommender)
        self.stage = f"measure_for_{self.task_id}_{len(rounds) + 1}"
        self.plan = {**stages.measure(self.paths, context["params"], champion), "spent": paid}
        self.log.warning("another run has moved the champion: measuring against %s", champion)
        owner, ticket = owner_of(context, env, self.stage), Ticket(series_of(context))
        request = build_request(env, owner.stage, self.shape, self.code, self.plan)
        try:
            self.cluster_id = launch.ensure(
                env.emr.region, request, owner, ticket, killed=lambda: self._killed
            )
        except ClientError as error:
            if clusters.is_passing(error):
                raise  # Airflow's retry finds the cluster by its ticket, or asks again
            raise AirflowFailException(str(classify_refusal(error))) from error
        mine = {"stage": self.stage, "cluster_id": self.cluster_id, "plan": self.plan}
        context["ti"].xcom_push(ROUNDS_KEY, [*rounds, mine])
        self._watch(context, env, [launch.attempt(self.cluster_id, ticket)], ticket.series)

    def resume(
        self,
        context: Context,
        event: dict[str, Any],
        history: list[dict[str, Any]] | None = None,
        series: int | None = None,
    ) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Judge how the measurement has ended, then go on with its report."""
        super().resume(context, event, history, series)
        return self.go_on(context)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Come back to the measurement that is under way: this is another process."""
        current = self._rounds(context)[-1]
        self.stage, self.cluster_id = current["stage"], current["cluster_id"]
        self._take_shape(context)
        self.plan = current["plan"]
        return super().resume_execution(next_method, next_kwargs, context)

    def _rounds(self, context: Context) -> list[dict[str, Any]]:
        ti = context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=ROUNDS_KEY) or []

    def _take_shape(self, context: Context) -> None:
        """Measure on the shape that the training took: what was trained on it may fit no other."""
        self.shape = context["ti"].xcom_pull(task_ids="plan_train", key="shape") or self.shape

    def _paid(self, context: Context) -> list[dict[str, Any]]:
        self._take_shape(context)
        priced = [
            spending.price_stage(one["stage"], self.shape, context) for one in self._rounds(context)
        ]
        return [*self.spent, *priced]


class Gate(MeasureAgain, BranchMixIn):
    """Decide, record the decision, and lead to its consequence.

    XCom ``decision`` is the record; ``question`` is what a person is asked, where one is.
    """

    inherits_from_skipmixin = True

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Judge what was measured."""
        return self.go_on(context)

    def go_on(self, context: Context) -> Any:  # noqa: ANN401 - BaseOperator's own
        """Judge; measure again first where the champion has moved."""
        decision = self.decide(context)
        if Decision.from_json(decision).stale:
            self.measure_again(context)
        ti = context["ti"]
        ti.xcom_push("decision", decision)
        page = pages.url(ti.dag_id, self.paths["snapshot"], self.paths["run_key"])
        ti.xcom_push(approval.QUESTION, approval.question(decision, page))
        return self.do_branch(context, pipeline.next_task(decision))


class Publish(MeasureAgain):
    """Publish the version; move the champion, and announce it, if the verdict is a promotion.

    Args:
        decision: the gate's.
        asked: id of the task that asked a person; None where nobody is asked.
    """

    template_fields: Sequence[str] = (*MeasureAgain.template_fields, "decision")

    def __init__(self, *, decision: Any, asked: str | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - an XComArg until the task runs
        super().__init__(outlets=[assets.MOVED], **kwargs)
        self.decision = decision
        self.asked = asked

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish what the gate, or a person, has decided on."""
        pull = context["ti"].xcom_pull
        answered = pull(task_ids=self.asked, key="decision") if self.asked else None
        return self._publish(context, answered or self.decision)

    def _paid(self, context: Context) -> list[dict[str, Any]]:
        self.spent = self.decision["cost"]["stages"]  # with what the gate had measured again
        return super()._paid(context)

    def go_on(self, context: Context) -> dict[str, Any]:
        """Decide anew and publish that."""
        return self._publish(context, self.decide(context))

    def _publish(self, context: Context, decision: dict[str, Any]) -> dict[str, Any]:
        published = pipeline.publish(self.paths, decision, lambda: self.decide(context))
        if published is None:
            self.measure_again(context)
        if published["champion_moved"]:
            assets.announce(context, self.recommender.name, published["version"])
        return published

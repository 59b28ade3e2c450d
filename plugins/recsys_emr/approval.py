"""Ask a person before a promotion, in the Airflow UI's *Required Actions*."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from recommender.gate import Answer, Decision
from recommender.gate.decision import cell
from recsys_emr import pipeline

if TYPE_CHECKING:
    from airflow.sdk import Context

QUESTION = "question"
"""XCom key under which the gate leaves the text that the person reads."""


class AskForApproval(ApprovalOperator):
    """Show the decision's table, wait without a worker, and record who answered what and when.

    An approval lets ``publish`` go on. A rejection, or no answer in time, is a refusal: it is
    written into the decision's record, ``publish`` is skipped, and the run ends green.

    Args:
        gate: id of the task that decided.
        hours: how long to wait.
    """

    def __init__(self, *, gate: str, hours: float, **kwargs: Any) -> None:  # noqa: ANN401 - BaseOperator's own
        super().__init__(
            subject="Promote {{ dag.dag_id.removeprefix('retrain_') }}?",
            body=f"{{{{ ti.xcom_pull(task_ids='{gate}', key='{QUESTION}') }}}}",
            defaults=self.REJECT,
            response_timeout=dt.timedelta(hours=hours),
            execution_timeout=None,  # it would count the hours of the wait
            **kwargs,
        )
        self.gate = gate

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - the provider's own
        """Write the run's page for who has to answer, then ask; a missing page stops no question."""
        decision = context["ti"].xcom_pull(task_ids=self.gate, key="decision")
        try:
            pipeline.write_page(decision)
        except Exception:
            self.log.exception("the run's page could not be written; asking without it")
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ANN401 - the provider's own
        """Record the answer, then go on or skip as the provider does."""
        if "error" not in event:
            self.validate_chosen_options(event["chosen_options"])
            ti = context["ti"]
            decision = ti.xcom_pull(task_ids=self.gate, key="decision")
            ti.xcom_push("decision", pipeline.settle(decision, read_answer(event)))
        return super().execute_complete(context, event)


def read_answer(event: dict[str, Any]) -> Answer:
    """Read what Airflow tells of an answer; at the time limit there is nobody who gave it."""
    user = event.get("responded_by_user")
    return Answer(
        approved=event["chosen_options"] == [ApprovalOperator.APPROVE],
        by=user["name"] if user else None,
        at=event["responded_at"].astimezone(dt.UTC).isoformat(timespec="seconds"),
    )


def question(record: dict[str, Any], page: str | None = None) -> str:
    """Return what the person reads, in Markdown: the reason, every rule, where to look further."""
    decision = Decision.from_json(record)
    lines = [f"**{decision.headline}**: {decision.reason}", ""]
    lines += ["| rule | result | measured | asked | |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {rule.name} | {rule.result} | {cell(rule.measured)} | {cell(rule.threshold)} "
        f"| {rule.sentence.replace('|', '/')} |"
        for rule in decision.rules
    ]
    if page:
        lines += ["", f"[The run report]({page})"]
    return "\n".join(lines)

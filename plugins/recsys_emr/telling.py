"""Write a run's page once its fate is known; its failure is red and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from recsys_emr import pages, pipeline
from recsys_emr.links import PAGE_KEY, PageLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class WritePage(BaseOperator):
    """Write ``<run>/report.html`` and link it; to be used as a teardown.

    A teardown runs whatever became of the tasks before it and does not decide the run's state: a
    page that cannot be written leaves a red task in a green run, and the promotion stands.

    Args:
        gate: id of the task whose decision is told.
    """

    operator_extra_links = (PageLink(),)

    def __init__(self, *, gate: str, **kwargs: Any) -> None:  # noqa: ANN401 - BaseOperator's own
        super().__init__(**kwargs)
        self.gate = gate

    def execute(self, context: Context) -> str:
        """Write the page and return its URI; a run without a decision has nothing to tell."""
        ti = context["ti"]
        decision = ti.xcom_pull(task_ids=self.gate, key="decision")
        if not decision:
            message = "the gate has decided nothing in this run: there is no page to write"
            raise AirflowSkipException(message)
        address = pages.url(ti.dag_id, decision["snapshot"], decision["run_key"])
        ti.xcom_push(PAGE_KEY, address)
        uri = pipeline.write_page(decision)
        self.log.info("the run's page: %s, in S3 %s", address, uri)
        return uri

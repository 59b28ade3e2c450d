"""Lead from a task in the Airflow UI to its cluster, to its logs and to the run's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.xcom import BaseXCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

# Airflow keeps a task's links in XCom under these keys once the task has ended. Stored under them
# as soon as the cluster is known, the buttons also work while the task waits.
CLUSTER_KEY = "_link_ClusterLink"
LOGS_KEY = "_link_LogsLink"
PAGE_KEY = "_link_PageLink"


class _StoredLink(BaseOperatorLink):
    """Show a URL that the task stored when it knew it."""

    key: str

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the stored URL, or nothing before there is one."""
        return str(BaseXCom.get_value(ti_key=ti_key, key=self.key) or "")  # type: ignore[arg-type]  # the protocol asks for settable fields


class ClusterLink(_StoredLink):
    """Open the cluster in the EMR console."""

    name = "EMR cluster"
    key = CLUSTER_KEY


class LogsLink(_StoredLink):
    """Open the cluster's logs in the S3 console."""

    name = "EMR logs"
    key = LOGS_KEY


class PageLink(_StoredLink):
    """Open the run's page inside Airflow."""

    name = "Run report"
    key = PAGE_KEY


def cluster_url(region: str, cluster_id: str) -> str:
    """Return the EMR console's page of a cluster."""
    return f"https://{region}.console.aws.amazon.com/emr/home?region={region}#/clusterDetails/{cluster_id}"


def logs_url(region: str, logs: str, cluster_id: str) -> str:
    """Return the S3 console's page of a cluster's logs."""
    bucket, _, prefix = logs.removeprefix("s3://").partition("/")
    return (
        f"https://{region}.console.aws.amazon.com/s3/buckets/{bucket}"
        f"?region={region}&prefix={prefix.rstrip('/')}/{cluster_id}/"
    )

"""Call EMR: find, describe, terminate. Every call has a time limit and a reason to retry or not."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsys_emr.job_flow import TAG_DAG, TAG_RUN, TAG_STAGE, Stage
from recsys_emr.outcome import ENDED_STATES, LIVE_STATES

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.type_defs import ClusterSummaryTypeDef

# Two more tags beside the stage's three. The work area tells two Airflows apart that share an AWS
# account and have runs of the same name; the ticket tells apart the clusters of one stage.
TAG_WORK = "recsys:work"
TAG_TICKET = "recsys:ticket"

# A stage looks for clusters that its own run made, hours ago at most; the sweep looks at live ones
# of any age.
LOOK_BACK = dt.timedelta(days=2)
# EMR's InternalServerException comes with HTTP status 400 too, so the codes count beside the status.
_INTERNAL = frozenset({"InternalServerException", "InternalServerError", "InternalFailure"})
_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",  # S3's
    }
)
_ENDING = (*ENDED_STATES, "TERMINATING")


@dataclass(frozen=True)
class Owner:
    """Say whose a cluster is: one Airflow (by its work area), one DAG run, one stage."""

    work: str
    stage: Stage

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags that all clusters of this stage carry."""
        return {**self.stage.tags, TAG_WORK: self.work}


@dataclass(frozen=True)
class Found:
    """Hold what is known of a cluster that a search has found."""

    cluster_id: str
    name: str
    state: str
    code: str
    created: dt.datetime
    tags: dict[str, str]

    @property
    def lives(self) -> bool:
        """Tell whether it costs money and nobody has ended it yet."""
        return self.state in LIVE_STATES

    def owner(self) -> Owner | None:
        """Return whose it is, or None if it does not carry all four tags of an owner."""
        tags = [self.tags.get(key) for key in (TAG_WORK, TAG_DAG, TAG_RUN, TAG_STAGE)]
        work, dag, run, stage = tags
        if work and dag and run and stage:
            return Owner(work, Stage(dag, run, stage))
        return None


def emr_client(region: str, *, attempts: int = 8) -> EMRClient:
    """Return an EMR client by way of the provider's hook, on boto3's own credentials.

    Args:
        region: AWS region.
        attempts: calls in all when EMR throttles, answers 5xx or not at all; boto3's standard
            mode waits up to 20 s between two. RunJobFlow wants 1: repeated after a lost answer it
            makes a second cluster.
    """
    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from botocore.config import Config

    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(connect_timeout=10, read_timeout=60, retries=retries)
    client: EMRClient = EmrHook(
        aws_conn_id=None, emr_conn_id=None, region_name=region, config=config
    ).get_conn()
    return client


def of_stage(client: EMRClient, owner: Owner) -> list[Found]:
    """Return every cluster of a stage, whatever its state, the newest first.

    ListClusters shows no tags, so the name narrows the search and the tags decide.
    """
    since = dt.datetime.now(dt.UTC) - LOOK_BACK
    pages = client.get_paginator("list_clusters").paginate(CreatedAfter=since)
    named = (
        _found(client, summary)
        for page in pages
        for summary in page["Clusters"]
        if summary["Name"] == owner.stage.cluster_name
    )
    ours = [found for found in named if owner.tags.items() <= found.tags.items()]
    return sorted(ours, key=lambda found: found.created, reverse=True)


def tagged_live(client: EMRClient, work: str, before: dt.datetime) -> list[Found]:
    """Return every live cluster of this work area that was created before a moment.

    The whole list comes first: terminating while paging would move clusters to a page already read.
    A name without the two slashes of ours saves the DescribeCluster that would show the tags.
    """
    pages = client.get_paginator("list_clusters").paginate(
        ClusterStates=list(LIVE_STATES), CreatedBefore=before
    )
    named = [s for page in pages for s in page["Clusters"] if s["Name"].count("/") >= 2]
    found = [_found(client, summary) for summary in named]
    owned = [(cluster, cluster.owner()) for cluster in found if cluster.lives]
    return [cluster for cluster, owner in owned if owner and owner.work == work]


def describe(client: EMRClient, cluster_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return DescribeCluster's Cluster and all of its steps."""
    cluster = client.describe_cluster(ClusterId=cluster_id)["Cluster"]
    pages = client.get_paginator("list_steps").paginate(ClusterId=cluster_id)
    steps = [dict(step) for page in pages for step in page["Steps"]]
    return dict(cluster), steps


def tags_of(cluster: dict[str, Any]) -> dict[str, str]:
    """Return the tags of DescribeCluster's Cluster."""
    return {tag["Key"]: tag.get("Value", "") for tag in cluster.get("Tags", [])}


def terminate(client: EMRClient, cluster_id: str) -> str:
    """Terminate a cluster unless it has ended or is ending; return the state it was found in.

    An id that EMR does not know is UNKNOWN and no error: EMR forgets clusters after two months.
    """
    from botocore.exceptions import ClientError  # here: not at a DAG file's parse time

    try:
        state: str = client.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"]
        if state not in _ENDING:
            client.terminate_job_flows(JobFlowIds=[cluster_id])
    except ClientError as error:
        if _code(error) != "InvalidRequestException" or "is not valid" not in str(error):
            raise
        return "UNKNOWN"
    return state


def terminate_stage(client: EMRClient, owner: Owner) -> list[Found]:
    """Terminate every live cluster of a stage, known or lost; return them."""
    live = [found for found in of_stage(client, owner) if found.lives]
    if live:
        client.terminate_job_flows(JobFlowIds=[found.cluster_id for found in live])
    return live


def answer_lost(error: Exception) -> bool:
    """Tell an error after which nobody knows whether the call was carried out."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in _INTERNAL or status >= 500
    return isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError)


def is_passing(error: Exception) -> bool:
    """Tell an error that a later call may not meet: throttling, a 5xx, a lost connection."""
    from botocore.exceptions import ClientError

    throttled = isinstance(error, ClientError) and _code(error) in _THROTTLED
    return throttled or answer_lost(error) or isinstance(error, TimeoutError)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _found(client: EMRClient, summary: ClusterSummaryTypeDef) -> Found:
    """Look closer at a cluster of a list: the list may be a little old, and has no tags."""
    cluster = dict(client.describe_cluster(ClusterId=summary["Id"])["Cluster"])
    status: Any = cluster["Status"]
    return Found(
        cluster_id=summary["Id"],
        name=summary["Name"],
        state=status["State"],
        code=status.get("StateChangeReason", {}).get("Code", ""),
        created=status["Timeline"]["CreationDateTime"],
        tags=tags_of(cluster),
    )

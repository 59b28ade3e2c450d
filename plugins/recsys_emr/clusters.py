"""Call EMR: find, describe, terminate. Every call has a time limit and a reason to retry or not."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from recsys_emr.job_flow import Stage
from recsys_emr.outcome import ENDED_STATES, LIVE_STATES

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient

# A live cluster of a run was created after the run began; a week covers every wait between.
_LOOK_BACK = dt.timedelta(days=7)


def emr_client(region: str) -> EMRClient:
    """Return an EMR client by way of the provider's hook, on boto3's own credentials.

    One attempt a call: RunJobFlow makes a second cluster when it is repeated after a lost answer.
    The Airflow task is what retries, and it looks for the first cluster before it makes another.
    """
    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from botocore.config import Config

    config = Config(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": 1})
    client: EMRClient = EmrHook(
        aws_conn_id=None, emr_conn_id=None, region_name=region, config=config
    ).get_conn()
    return client


def find_live(client: EMRClient, stage: Stage) -> str | None:
    """Return the live cluster that carries this run's and stage's tags, if there is one.

    ListClusters shows no tags, so the name narrows the search and the tags decide.
    """
    since = dt.datetime.now(dt.UTC) - _LOOK_BACK
    pages = client.get_paginator("list_clusters").paginate(
        ClusterStates=list(LIVE_STATES), CreatedAfter=since
    )
    for page in pages:
        for summary in page["Clusters"]:
            if summary["Name"] != stage.cluster_name:
                continue
            cluster = client.describe_cluster(ClusterId=summary["Id"])["Cluster"]
            tags = {tag["Key"]: tag["Value"] for tag in cluster.get("Tags", [])}
            if stage.tags.items() <= tags.items():
                return summary["Id"]
    return None


def describe(client: EMRClient, cluster_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return DescribeCluster's Cluster and all of its steps."""
    cluster = client.describe_cluster(ClusterId=cluster_id)["Cluster"]
    pages = client.get_paginator("list_steps").paginate(ClusterId=cluster_id)
    steps = [dict(step) for page in pages for step in page["Steps"]]
    return dict(cluster), steps


def terminate(client: EMRClient, cluster_id: str) -> str:
    """Terminate a cluster unless it has ended or is ending; return the state it was found in."""
    state = client.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"]
    if state not in (*ENDED_STATES, "TERMINATING"):
        client.terminate_job_flows(JobFlowIds=[cluster_id])
    return state

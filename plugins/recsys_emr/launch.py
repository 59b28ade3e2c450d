"""Create a stage's cluster once, and find it again after a crash or a lost answer.

RunJobFlow has no idempotency token. Each cluster therefore carries a ticket, ``<series>.<attempt>``:

- The series is the submit task's ``max_tries``. Airflow sets it to the tries so far plus the
  task's retries whenever a person clears the task, and at no other time: it is the same for all
  retries of one task, and another one after a Clear. No clock is compared.
- The attempt counts the clusters that the stage itself has asked for: 1 by the submit task, more
  by the wait task when capacity or machines were lost.

So a retry adopts what its own series has made, alive or ended, even if it has ended well between
the lost answer and the retry; a Clear never does, and terminates what an earlier series left alive
before it makes a cluster of its own: two clusters would write the same directories.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from recsys_emr import clusters
from recsys_emr.clusters import TAG_TICKET, Found, Owner

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient

log = logging.getLogger(__name__)

Attempt = dict[str, Any]  # JSON: it travels through deferrals and XCom


@dataclass(frozen=True)
class Ticket:
    """Tell the clusters of one stage apart."""

    series: int
    attempt: int = 1

    def __str__(self) -> str:
        return f"{self.series}.{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Ticket | None:
        """Read a tag's value; None if it is no ticket of ours."""
        series, dot, attempt = text.partition(".")
        if not (dot and series.isdecimal() and attempt.isdecimal()):
            return None
        return cls(int(series), int(attempt))

    @classmethod
    def of(cls, tags: dict[str, str]) -> Ticket | None:
        """Return the ticket among a cluster's tags."""
        return cls.parse(tags.get(TAG_TICKET, ""))


def tagged(request: dict[str, Any], owner: Owner, ticket: Ticket) -> dict[str, Any]:
    """Return the request with the tags by which this very cluster is found again."""
    added = {**owner.tags, TAG_TICKET: str(ticket)}
    kept = [tag for tag in request.get("Tags", []) if tag["Key"] not in added]
    new = [{"Key": key, "Value": value} for key, value in sorted(added.items())]
    return {**request, "Tags": [*kept, *new]}


def adoptable(found: list[Found], ticket: Ticket) -> Found | None:
    """Return the cluster that this ticket has already made, if it is worth having.

    One that ended by itself, well or badly, tells what a second one would tell again at the same
    price. One that somebody ended tells nothing.
    """
    for cluster in found:
        ended_from_outside = not cluster.lives and cluster.code == "USER_REQUEST"
        if Ticket.of(cluster.tags) == ticket and not ended_from_outside:
            return cluster
    return None


def attempts_so_far(
    client: EMRClient, cluster_id: str, owner: Owner | None
) -> tuple[list[Attempt], int]:
    """Return a stage's attempts, oldest first, and the series they belong to.

    Args:
        client: EMR client.
        cluster_id: the first attempt's, from the submit task.
        owner: whose clusters to look for; None if there can be no later attempt.
    """
    cluster = client.describe_cluster(ClusterId=cluster_id)["Cluster"]
    first = Ticket.of(clusters.tags_of(dict(cluster))) or Ticket(0)
    attempts = [attempt(cluster_id, first)]
    if owner is not None:
        found = sorted(clusters.of_stage(client, owner), key=lambda entry: entry.created)
        tickets = [(entry.cluster_id, Ticket.of(entry.tags)) for entry in found]
        later = [
            attempt(identity, ticket)
            for identity, ticket in tickets
            if ticket and ticket.series == first.series and ticket.attempt > 1
        ]
        attempts += sorted(later, key=lambda entry: entry["attempt"])  # stable: the newest last
    return attempts, first.series


def attempt(cluster_id: str, ticket: Ticket) -> Attempt:
    """Return what is remembered of an attempt; "kind" will say why it failed."""
    return {"cluster_id": cluster_id, "attempt": ticket.attempt, "kind": None}


def ensure(
    region: str,
    request: dict[str, Any],
    owner: Owner,
    ticket: Ticket,
    killed: Callable[[], bool] = lambda: False,
) -> str:
    """Return the id of the cluster with this ticket; create it if there is none.

    Args:
        region: AWS region.
        request: RunJobFlow's, without the owner's tags.
        owner: whose cluster it is.
        ticket: which one of the stage's.
        killed: tells whether the task was killed meanwhile; the cluster is then terminated.

    Raises:
        AirflowException: the task was killed while EMR answered.
        ClientError: EMR refused RunJobFlow; nothing was created.
        HTTPClientError, ConnectionError: no answer came and no cluster is to be seen yet; a retry
            looks again before it asks.
    """
    client = clusters.emr_client(region)
    found = clusters.of_stage(client, owner)
    terminate_stale(client, found, ticket)
    if cluster := adoptable(found, ticket):
        log.info("cluster %s has ticket %s already: adopted", cluster.cluster_id, ticket)
        cluster_id = cluster.cluster_id
    else:
        request = tagged(request, owner, ticket)
        log.info("RunJobFlow %s", json.dumps(request, indent=2))
        cluster_id = _run_job_flow(client, region, request, owner, ticket)
    if killed():
        clusters.terminate(client, cluster_id)
        # A worker that shuts down kills its tasks too, and their retry wants a cluster of its own.
        message = f"the task was killed while {cluster_id} was created: it is being terminated"
        raise AirflowException(message)
    return cluster_id


def terminate_stale(client: EMRClient, found: list[Found], ticket: Ticket) -> None:
    """Terminate what lives of this stage under another ticket: one cluster a stage."""
    for cluster in found:
        if cluster.lives and Ticket.of(cluster.tags) != ticket:
            log.warning("terminating %s, which an earlier attempt left", cluster.cluster_id)
            clusters.terminate(client, cluster.cluster_id)


def _run_job_flow(
    client: EMRClient, region: str, request: dict[str, Any], owner: Owner, ticket: Ticket
) -> str:
    """Ask once. After a lost answer, look whether the question has arrived."""
    try:
        once = clusters.emr_client(region, attempts=1)
        cluster_id = str(once.run_job_flow(**request)["JobFlowId"])
    except Exception as error:
        if not clusters.answer_lost(error):
            raise
        log.warning("the answer to RunJobFlow was lost (%s); looking for the cluster", error)
        cluster = adoptable(clusters.of_stage(client, owner), ticket)
        if cluster is None:
            raise
        cluster_id = cluster.cluster_id
    log.info("cluster %s was created with ticket %s", cluster_id, ticket)
    return cluster_id

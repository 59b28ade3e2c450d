"""Hold the clusters and carry out EMR's requests on them; errors are EMR's own."""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from moto.emr.exceptions import InvalidCluster, InvalidRequestException

from localaws.emr_cluster import Cluster, Ending, Workplace
from localaws.emr_documents import (
    CLUSTER_DONE,
    ClusterDocument,
    ClusterFiles,
    Json,
    StepDocument,
    interrupt,
    new_id,
)
from localaws.emr_validation import check_run_job_flow, has_three_primaries, idle_timeout, refuse

# More than any kill takes: SIGTERM's grace, SIGKILL's, and the logs' last shipment.
SHUTDOWN_SECONDS = 20.0


class EmrService:
    """Every cluster of this data directory, running or finished."""

    def __init__(self, workplace: Workplace, files: ClusterFiles, arn_prefix: str) -> None:
        self._workplace = workplace
        self._arn_prefix = arn_prefix
        self._lock = threading.Lock()
        self._clusters: dict[str, Cluster] = {}
        for document in files.load():
            if document.state not in CLUSTER_DONE:
                interrupt(document, time.time())
                workplace.save(document)
            self._clusters[document.id] = Cluster(document, workplace)

    def states(self) -> dict[str, str]:
        """Return each cluster's state."""
        return {cluster_id: c.document.state for cluster_id, c in self._snapshot()}

    def run(self, request: Json) -> ClusterDocument:
        """Start a cluster from a RunJobFlow request."""
        instances = request.get("Instances") or {}
        check_run_job_flow(request)
        cluster_id = new_id("j")
        policy = request.get("AutoTerminationPolicy")
        document = ClusterDocument(
            id=cluster_id,
            arn=f"{self._arn_prefix}:cluster/{cluster_id}",
            request=request,
            created=time.time(),
            tags=_tags(request.get("Tags")),
            # EMR protects and keeps a cluster of three primary nodes, whatever was asked.
            termination_protected=bool(instances.get("TerminationProtected"))
            or has_three_primaries(instances),
            keep_alive=bool(instances.get("KeepJobFlowAliveWhenNoSteps"))
            or has_three_primaries(instances),
            visible=bool(request.get("VisibleToAllUsers", True)),
            idle_timeout=idle_timeout(policy) if policy else None,
            steps=_new_steps(request.get("Steps")),
        )
        cluster = Cluster(document, self._workplace)
        with self._lock:
            self._clusters[cluster_id] = cluster
        cluster.start()
        return document

    def cluster(self, cluster_id: str | None) -> Cluster:
        """Find a cluster for the requests that name a ClusterId."""
        found = self._clusters.get(cluster_id or "")
        if found is None:
            raise InvalidCluster(str(cluster_id))
        return found

    def find(self, cluster_id: str) -> ClusterDocument | None:
        """Return a cluster's document, if there is such a cluster."""
        found = self._clusters.get(cluster_id)
        return None if found is None else found.document

    def job_flows(self, cluster_ids: Iterable[str]) -> list[Cluster]:
        """Find clusters for the older requests that name JobFlowIds; they word the error differently."""
        wanted = list(cluster_ids)
        if not wanted or any(cluster_id not in self._clusters for cluster_id in wanted):
            refuse("Specified job flow ID not valid")
        return [self._clusters[cluster_id] for cluster_id in wanted]

    def clusters(
        self,
        states: Iterable[str] = (),
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> list[ClusterDocument]:
        """Return the matching clusters, newest first."""
        wanted = set(states)
        earliest, latest = _seconds(after, 0.0), _seconds(before, float("inf"))
        found = [c.document for _, c in self._snapshot()]
        return sorted(
            (
                document
                for document in found
                if (not wanted or document.state in wanted)
                and earliest <= document.created <= latest
            ),
            key=lambda document: document.created,
            reverse=True,
        )

    def add_steps(self, cluster_id: str, steps: list[Json], role: str | None = None) -> list[str]:
        """Queue steps; their ids. The runtime role is shown again and gives or takes no right here."""
        cluster = self.job_flows([cluster_id])[0]
        extra = {"ExecutionRoleArn": role} if role else {}
        documents = _new_steps([{**step, **extra} for step in steps])
        if not documents:
            refuse("expected at least one step, found none")
        if not cluster.add_steps(documents):
            refuse(
                "A job flow that is shutting down, terminating, or finished may not be modified."
            )
        return [step.id for step in documents]

    def step(self, cluster_id: str, step_id: str | None) -> StepDocument:
        """Find a step."""
        for step in self.cluster(cluster_id).document.steps:
            if step.id == step_id:
                return step
        raise InvalidRequestException(f"Step id '{step_id}' is not valid.")

    def steps(
        self, cluster_id: str, states: Iterable[str] = (), ids: Iterable[str] = ()
    ) -> list[StepDocument]:
        """Return the matching steps, the last added first, as EMR lists them."""
        wanted_states, wanted_ids = set(states), list(ids)
        for step_id in wanted_ids:
            self.step(cluster_id, step_id)
        return [
            step
            for step in reversed(self.cluster(cluster_id).document.steps)
            if (not wanted_states or step.state in wanted_states)
            and (not wanted_ids or step.id in wanted_ids)
        ]

    def cancel_steps(self, cluster_id: str, step_ids: Iterable[str]) -> list[Json]:
        """Cancel steps; EMR's verdict on each."""
        cluster = self.cluster(cluster_id)
        verdicts = []
        for step_id in step_ids:
            why_not = cluster.cancel(self.step(cluster_id, step_id))
            verdict = {"StepId": step_id, "Status": "FAILED" if why_not else "SUBMITTED"}
            verdicts.append({**verdict, "Reason": why_not} if why_not else verdict)
        return verdicts

    def terminate(self, cluster_ids: Iterable[str]) -> None:
        """Terminate clusters; with a protected one among them the others still end, as on EMR."""
        protected = []
        for cluster in self.job_flows(cluster_ids):
            if cluster.document.termination_protected:
                protected.append(cluster.document.id)
            else:
                cluster.terminate(Ending("USER_REQUEST", "Terminated by user request"))
        if protected:
            refuse(
                "Could not shut down one or more job flows since they are termination protected."
            )

    def change(self, cluster: Cluster, change: Callable[[ClusterDocument], None]) -> None:
        """Change a setting of a cluster that has not ended."""
        if cluster.document.state in CLUSTER_DONE:
            refuse(
                "A job flow that is shutting down, terminating, or finished may not be modified."
            )
        cluster.update(change)

    def set_auto_termination(self, cluster_id: str, policy: Json | None) -> None:
        """Put or (None) remove a cluster's AutoTerminationPolicy."""
        seconds = idle_timeout(policy) if policy else None

        def change(document: ClusterDocument) -> None:
            document.idle_timeout = seconds

        self.change(self.cluster(cluster_id), change)

    def shut_down(self) -> list[str]:
        """End all clusters, in order, before the server stops; the ids that did not end in time."""
        running = [(i, c) for i, c in self._snapshot() if c.document.state not in CLUSTER_DONE]
        for _, cluster in running:
            cluster.terminate(
                Ending("INTERNAL_ERROR", "The embedded AWS was stopped while this cluster ran")
            )
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        return [i for i, c in running if not c.join(max(0.0, deadline - time.monotonic()))]

    def _snapshot(self) -> list[tuple[str, Cluster]]:
        with self._lock:
            return list(self._clusters.items())


def _new_steps(steps: list[Json] | None) -> list[StepDocument]:
    now = time.time()
    return [StepDocument(id=new_id("s"), request=step, created=now) for step in steps or []]


def _tags(tags: list[Json] | None) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tags or []}


def _seconds(moment: datetime | None, default: float) -> float:
    return default if moment is None else moment.timestamp()

"""An EMR that answers on the wire, in memory: requests and answers are parsed by botocore itself."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from recommender import environment
from recsys_emr import clusters
from recsys_emr.outcome import LIVE_STATES

RUN_ID = "manual__2026-11-22"
Fault = tuple[str, str]


class Raw:
    """The body of an answer, as urllib3 would hold it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._content


class EmrStub:
    """Hold clusters; answer as EMR does; fail on demand.

    Attributes:
        clusters: id -> DescribeCluster's Cluster with "Steps" and "Request" beside it.
        calls: the operations asked for, in order.
        faults: operation -> faults to meet, first one first: ("throttle", ""), ("refuse", code),
            ("lose", "") (carried out, no answer), ("down", "") (500, not carried out).
        list_lags: ListClusters does not show any cluster yet.
        hours: how long the primary node of every cluster was there.
    """

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.faults: dict[str, list[Fault]] = {}
        self.list_lags = False
        self.hours = 0.0

    def client(self, region: str = "us-east-1", *, attempts: int = 8) -> Any:
        retries: Any = {"mode": "standard", "total_max_attempts": attempts}
        client = boto3.client("emr", region_name=region, config=Config(retries=retries))
        hook: Any = self._send  # the stub of the types knows no hook that answers
        client.meta.events.register("before-send.emr", hook)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        self.calls.append(operation)
        queue = self.faults.get(operation, [])
        fault, code = queue.pop(0) if queue else ("", "")
        if fault == "throttle":
            return self._error(request, 400, "ThrottlingException", "Rate exceeded")
        if fault == "refuse":
            return self._error(request, 400, code, f"refused: {code}")
        if fault == "down":
            return self._error(request, 500, "InternalServerError", "try again")
        try:
            answer = getattr(self, operation)(json.loads(request.body))
        except KeyError as error:
            text = f"Cluster id '{error.args[0]}' is not valid."
            return self._error(request, 400, "InvalidRequestException", text)
        if fault == "lose":
            raise ConnectionClosedError(endpoint_url=request.url)
        return self._answer(request, 200, answer)

    def _error(self, request: Any, status: int, code: str, text: str) -> AWSResponse:
        return self._answer(request, status, {"__type": code, "message": text})

    @staticmethod
    def _answer(request: Any, status: int, body: dict[str, Any]) -> AWSResponse:
        headers: Any = {"Content-Type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, status, headers, Raw(json.dumps(body).encode()))

    # Operations

    def RunJobFlow(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - EMR's name
        number = len(self.clusters) + 1
        cluster_id = f"j-{number:013d}"
        created = dt.datetime.now(dt.UTC).timestamp() + number / 1000
        steps = [
            {"Id": f"s-{n}", "Name": step["Name"], "Status": {"State": "PENDING"}}
            for n, step in enumerate(data["Steps"], 1)
        ]
        self.clusters[cluster_id] = {
            "Id": cluster_id,
            "Name": data["Name"],
            "Tags": data.get("Tags", []),
            "Ec2InstanceAttributes": {"Ec2SubnetId": "subnet-a"},
            "Status": {"State": "STARTING", "Timeline": {"CreationDateTime": created}},
            "Steps": steps,
            "Request": data,
        }
        return {"JobFlowId": cluster_id}

    def DescribeCluster(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        cluster = self.clusters[data["ClusterId"]]
        hidden = {"Steps", "Request"}
        return {"Cluster": {key: value for key, value in cluster.items() if key not in hidden}}

    def ListClusters(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        states = data.get("ClusterStates")
        found = [
            {"Id": c["Id"], "Name": c["Name"], "Status": c["Status"]}
            for c in self.clusters.values()
            if not self.list_lags
            and (not states or c["Status"]["State"] in states)
            and c["Status"]["Timeline"]["CreationDateTime"] > data.get("CreatedAfter", 0)
            and c["Status"]["Timeline"]["CreationDateTime"] < data.get("CreatedBefore", 1e12)
        ]
        start = int(data.get("Marker", "0"))  # two a page: every list must be paged through
        more = {"Marker": str(start + 2)} if len(found) > start + 2 else {}
        return {"Clusters": found[start : start + 2], **more}

    def ListSteps(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Steps": self.clusters[data["ClusterId"]]["Steps"]}

    def ListInstanceFleets(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        assert data["ClusterId"] in self.clusters
        return {"InstanceFleets": [{"Id": "if-1", "InstanceFleetType": "MASTER"}]}

    def ListInstances(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """Show the primary node; a cluster that never had it has none."""
        begun = self.clusters[data["ClusterId"]]["Status"]["Timeline"]["CreationDateTime"]
        times = {"CreationDateTime": begun, "EndDateTime": begun + self.hours * 3600}
        node = {
            "InstanceFleetId": "if-1",
            "InstanceType": "m5.xlarge",
            "Status": {"Timeline": times},
        }
        return {"Instances": [node] if self.hours else []}

    def TerminateJobFlows(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for cluster_id in data["JobFlowIds"]:
            if self.state(cluster_id) in LIVE_STATES:
                self.end(cluster_id, "TERMINATED", "USER_REQUEST", "Terminated by user request")
        return {}

    # The test's hand

    def state(self, cluster_id: str) -> str:
        return str(self.clusters[cluster_id]["Status"]["State"])

    @property
    def live(self) -> list[str]:
        return [c for c in self.clusters if self.state(c) in LIVE_STATES]

    def tags(self, cluster_id: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.clusters[cluster_id]["Tags"]}

    def end(self, cluster_id: str, state: str, code: str, text: str = "", step: str = "") -> None:
        """End a cluster; `step` is the state of its steps, by default what goes with the code."""
        cluster = self.clusters[cluster_id]
        step = step or ("COMPLETED" if code == "ALL_STEPS_COMPLETED" else "CANCELLED")
        reason = {"Code": code, "Message": text}
        cluster["Status"] |= {"State": state, "StateChangeReason": reason}
        for entry in cluster["Steps"]:
            entry["Status"] = {"State": step}

    def complete(self, cluster_id: str) -> None:
        self.end(cluster_id, "TERMINATED", "ALL_STEPS_COMPLETED", "Steps completed")

    def age(self, cluster_id: str, minutes: float) -> None:
        self.clusters[cluster_id]["Status"]["Timeline"]["CreationDateTime"] -= minutes * 60


class TaskInstance:
    """What a running task knows of itself."""

    def __init__(self, max_tries: int, try_number: int) -> None:
        self.max_tries = max_tries
        self.try_number = try_number
        self.xcom: dict[str, Any] = {}
        self.under_way: set[tuple[str, str]] = set()

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom[key] = json.loads(json.dumps(value))

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert states == ["queued", "running"]
        return len({(dag_id, run_id) for run_id in run_ids} & self.under_way)


@pytest.fixture
def emr(monkeypatch: pytest.MonkeyPatch) -> EmrStub:
    stub = EmrStub()
    monkeypatch.setattr(clusters, "emr_client", stub.client)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    return stub


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> environment.Environment:
    """Return the local environment with its work area in a directory, and no waiting for logs."""
    local = environment.load("local")
    emr = local.emr.model_copy(update={"poll_seconds": 0.001})
    changed = local.model_copy(update={"work": str(tmp_path / "work"), "emr": emr})
    monkeypatch.setattr(environment, "load", lambda *_: changed)
    return changed


@pytest.fixture
def context() -> Callable[..., Any]:
    """Return a maker of task contexts; a Clear is another ``max_tries``."""

    def make(max_tries: int = 2, run_id: str = RUN_ID, try_number: int = 1, **params: Any) -> Any:
        run = SimpleNamespace(dag_id="retrain_shop", run_id=run_id)
        return {"ti": TaskInstance(max_tries, try_number), "dag_run": run, "params": params}

    return make

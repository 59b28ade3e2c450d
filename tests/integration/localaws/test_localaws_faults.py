"""Every fault over the wire, as boto3 sees it: with its own retries, time-outs and exceptions."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
    WaiterError,
)

from localaws.fault_client import faults
from localaws.fault_step import LOST
from localaws.testing import Server, client, environment, read_log, running
from localaws.testing import command_step as step
from localaws.testing import step_states as states
from localaws.testing import wait_for_end as end_of
from localaws.testing import wait_until as until

if TYPE_CHECKING:
    from mypy_boto3_emr.client import EMRClient
    from mypy_boto3_s3.client import S3Client

pytestmark = pytest.mark.localaws

RunCluster = Callable[..., str]
Shown = Callable[[], list[dict[str, Any]]]
SetFaults = Callable[..., AbstractContextManager[Shown]]
FAST: Any = {"Delay": 0, "MaxAttempts": 3000}
PASS = step("python3", "-c", "print('ran')")
FLEETS = [
    {
        "InstanceFleetType": kind,
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
    }
    for kind in ("MASTER", "CORE")
]


@pytest.fixture
def fault(server: Server) -> SetFaults:
    """Set faults for a block; the function it yields shows the rules and their counters."""

    def set_faults(*rules: dict[str, Any]) -> AbstractContextManager[Shown]:
        return faults(server.endpoint_url, *rules)

    return set_faults


@pytest.fixture
def patient(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make clients with boto3's own retries."""
    for name, value in environment(server.endpoint_url).items():
        monkeypatch.setenv(name, value)

    def make(service: str, **config: Any) -> Any:
        return boto3.client(service, config=Config(**config))  # type: ignore[call-overload]  # the stubs want a literal

    return make


@pytest.fixture(autouse=True)
def _nothing_left(server: Server) -> Iterator[None]:
    yield
    assert page(server, "GET") == (200, [])


def page(server: Server, method: str, body: bytes | None = None, query: str = "") -> Any:
    url = f"{server.endpoint_url}/_localaws/faults{query}"
    request = urllib.request.Request(url, body, method=method)  # noqa: S310  (loopback http)
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310  (loopback http)
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def on_emr(kind: str, *operations: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "service": "emr", "operations": operations, **fields}


def on_s3(kind: str, *operations: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "service": "s3", "operations": operations, **fields}


def failure(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call()
    response = error.value.response
    found = response["Error"]
    return response["ResponseMetadata"]["HTTPStatusCode"], found["Code"], found["Message"]


def live(emr: "EMRClient", name: str) -> list[str]:
    return [c["Id"] for c in emr.list_clusters()["Clusters"] if c["Name"] == name]


# The page


def test_page_shows_adds_and_removes_rules_with_their_counters(
    server: Server, emr: "EMRClient"
) -> None:
    rules = [on_emr("throttle", "ListClusters", times=1), {"kind": "step_hang"}]
    status, shown = page(server, "POST", json.dumps(rules).encode())
    assert status == 200
    assert [(rule["kind"], rule["fired"]) for rule in shown] == [("throttle", 0), ("step_hang", 0)]
    failure(emr.list_clusters)
    assert page(server, "GET")[1][0]["fired"] == 1
    status, left = page(server, "DELETE", query=f"?id={shown[0]['id']}")
    assert (status, [rule["kind"] for rule in left]) == (200, ["step_hang"])
    assert page(server, "DELETE", query=f"?id={shown[0]['id']}")[0] == 404
    assert page(server, "DELETE", query="?id=x")[0] == 400
    assert page(server, "DELETE") == (200, [])


def test_wrong_rules_are_refused_whole(server: Server) -> None:
    body = json.dumps([{"kind": "step_hang"}, {"kind": "step_hung"}]).encode()
    status, answer = page(server, "POST", body)
    assert status == 400
    assert "step_hung" in answer["error"]
    assert page(server, "GET") == (200, [])
    assert page(server, "PUT", b"[]")[0] == 405


def test_web_page_cannot_set_faults(server: Server) -> None:
    url = f"{server.endpoint_url}/_localaws/faults"
    headers = {"Origin": "https://example.com"}
    request = urllib.request.Request(url, b'[{"kind": "step_hang"}]', headers)  # noqa: S310  (loopback http)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)  # noqa: S310  (loopback http)


def test_faults_of_the_environment_hold_from_the_first_request(tmp_path: Path) -> None:
    rules = json.dumps([on_emr("throttle", "ListClusters", times=1)])
    with running(tmp_path, env={"LOCALAWS_FAULTS": rules}) as server:
        emr = client("emr", server.endpoint_url)
        assert failure(emr.list_clusters)[1] == "ThrottlingException"
        assert emr.list_clusters()["Clusters"] == []


def test_server_does_not_start_with_faults_it_does_not_understand(tmp_path: Path) -> None:
    include = str(Path(__file__).parents[3] / "include")
    ended = subprocess.run(
        [sys.executable, "-m", "localaws", "--port", "0", "--data-dir", str(tmp_path / "data")],
        env={"PYTHONPATH": include, "LOCALAWS_FAULTS": '[{"kind": "explode"}]'},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "explode" in ended.stderr


# Requests


def test_throttled_emr_request_is_rate_exceeded_and_boto3_retries_it(
    emr: "EMRClient", patient: Callable[..., Any], fault: SetFaults
) -> None:
    throttle = on_emr("throttle", "ListClusters")
    with fault(throttle):
        assert failure(emr.list_clusters) == (400, "ThrottlingException", "Rate exceeded")
        emr.list_release_labels()  # another operation is not concerned
    with fault({**throttle, "times": 2}) as shown:
        answer = patient("emr", retries={"mode": "standard"}).list_clusters()
        assert answer["ResponseMetadata"]["RetryAttempts"] == 2
        assert shown()[0]["fired"] == 2
    with fault(throttle) as shown:
        legacy = patient("emr", retries={"mode": "legacy", "max_attempts": 1})
        assert failure(legacy.list_clusters)[1] == "ThrottlingException"
        assert shown()[0]["fired"] == 2


def test_throttled_request_may_have_its_effect_all_the_same(
    emr: "EMRClient", run_cluster: RunCluster, fault: SetFaults
) -> None:
    rule = on_emr("throttle", "RunJobFlow", when="after", match={"cluster": "twin"})
    with fault(rule):
        assert failure(lambda: run_cluster(PASS, Name="twin"))[1] == "ThrottlingException"
        run_cluster(PASS, Name="another")
    ids = live(emr, "twin")
    assert len(ids) == 1
    end_of(emr, ids[0])


def test_throttled_sts_request_is_throttling(server: Server, fault: SetFaults) -> None:
    sts = client("sts", server.endpoint_url)
    with fault({"kind": "throttle", "service": "sts"}):
        assert failure(sts.get_caller_identity) == (400, "Throttling", "Rate exceeded")
    assert sts.get_caller_identity()["Account"] == "123456789012"


def test_s3_error_concerns_the_matching_keys_only(s3: "S3Client", fault: SetFaults) -> None:
    s3.put_object(Bucket="data", Key="faulty/a", Body=b"a")
    s3.put_object(Bucket="data", Key="sound/a", Body=b"a")
    match = {"bucket": "data", "key": "faulty/"}
    with fault(on_s3("error", "GetObject", match=match)):
        status, code, message = failure(lambda: s3.get_object(Bucket="data", Key="faulty/a"))
        assert (status, code) == (500, "InternalError")
        assert "internal error" in message
        assert s3.get_object(Bucket="data", Key="sound/a")["Body"].read() == b"a"
        assert s3.head_object(Bucket="data", Key="faulty/a")["ContentLength"] == 1
    with fault(on_s3("error", "HeadObject", match=match, code="SlowDown")):
        assert failure(lambda: s3.head_object(Bucket="data", Key="faulty/a"))[0] == 503


def test_s3_slow_down_is_outlived_by_boto3s_retries(
    patient: Callable[..., Any], fault: SetFaults
) -> None:
    rules = on_s3("throttle", "PutObject", times=1), on_s3("error", "PutObject", times=1)
    with fault(*rules) as shown:
        s3 = patient("s3", retries={"mode": "standard"})
        answer = s3.put_object(Bucket="data", Key="retried", Body=b"x" * 100_000)
        assert answer["ResponseMetadata"]["RetryAttempts"] == 2
        assert [rule["fired"] for rule in shown()] == [1, 1]
    assert s3.get_object(Bucket="data", Key="retried")["ContentLength"] == 100_000


def test_s3_write_that_fails_before_leaves_nothing_and_after_leaves_the_object(
    s3: "S3Client", fault: SetFaults
) -> None:
    def put(key: str) -> None:
        s3.put_object(Bucket="data", Key=key, Body=b"x")

    with fault(on_s3("error", "PutObject", code="ServiceUnavailable")):
        assert failure(lambda: put("never"))[:2] == (503, "ServiceUnavailable")
    with fault(on_s3("error", "PutObject", when="after")):
        assert failure(lambda: put("written"))[0] == 500
    found = s3.list_objects_v2(Bucket="data")["Contents"]
    keys = {item["Key"] for item in found}
    assert "written" in keys
    assert "never" not in keys


def test_emr_internal_error_is_the_one_its_model_names(
    emr: "EMRClient", run_cluster: RunCluster, fault: SetFaults
) -> None:
    with fault(on_emr("error", "*")):
        assert failure(emr.list_clusters)[:2] == (500, "InternalServerException")
        with pytest.raises(emr.exceptions.InternalServerError):
            run_cluster(PASS)
    with fault(on_emr("error", "RunJobFlow", code="AccessDeniedException", message="no")):
        assert failure(lambda: run_cluster(PASS)) == (400, "AccessDeniedException", "no")


def test_delayed_answer_times_out_at_the_client_with_or_without_the_effect(
    emr: "EMRClient", patient: Callable[..., Any], fault: SetFaults
) -> None:
    hasty = patient("emr", read_timeout=0.3, retries={"total_max_attempts": 1})
    instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1}
    slow = on_emr("delay", "RunJobFlow", seconds=60)
    began = time.monotonic()
    with fault({**slow, "when": "after"}), pytest.raises(ReadTimeoutError):
        hasty.run_job_flow(Name="slow answer", Instances=instances)
    until(lambda: live(emr, "slow answer"))
    # Its rule gone, the held request goes on: only then is the cluster there.
    with fault(slow), pytest.raises(ReadTimeoutError):
        hasty.run_job_flow(Name="slow effect", Instances=instances)
    until(lambda: live(emr, "slow effect"))
    assert time.monotonic() - began < 30
    with fault(on_emr("delay", "ListClusters", seconds=0.2)):
        began = time.monotonic()
        emr.list_clusters()
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("when", "clusters"), [("before", 0), ("after", 1)])
def test_reset_cuts_the_connection_before_or_after_the_effect(
    emr: "EMRClient", run_cluster: RunCluster, fault: SetFaults, when: str, clusters: int
) -> None:
    name = f"reset {when}"
    rule = on_emr("reset", "RunJobFlow", when=when, times=1)
    with fault(rule), pytest.raises(ConnectionClosedError):
        run_cluster(PASS, Name=name)
    assert len(live(emr, name)) == clusters
    end_of(emr, run_cluster(PASS, Name="the connection after it"))


def test_reset_after_makes_a_retrying_client_start_twins(
    emr: "EMRClient", patient: Callable[..., Any], fault: SetFaults
) -> None:
    """What an idempotent submit has to stand: boto3 itself repeats RunJobFlow after a lost answer."""
    retrying = patient("emr", retries={"mode": "standard"})
    with fault(on_emr("reset", "RunJobFlow", when="after", times=1)):
        retrying.run_job_flow(
            Name="twins", Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1}
        )
    assert len(live(emr, "twins")) == 2


def test_reset_of_an_upload_is_outlived_by_boto3s_retries(
    patient: Callable[..., Any], fault: SetFaults
) -> None:
    s3 = patient("s3", retries={"mode": "standard"})
    with fault(on_s3("reset", "PutObject", times=2)) as shown:
        s3.put_object(Bucket="data", Key="cut", Body=b"x" * 1_000_000)
        assert shown()[0]["fired"] == 2
    assert s3.get_object(Bucket="data", Key="cut")["ContentLength"] == 1_000_000


# Clusters


def test_refused_capacity_is_a_validation_exception_and_no_cluster(
    emr: "EMRClient", run_cluster: RunCluster, fault: SetFaults
) -> None:
    with fault({"kind": "capacity_refused", "match": {"instance_type": "m5.*"}}):
        found = failure(lambda: run_cluster(PASS, Name="refused"))
        assert found == (400, "ValidationException", "Instance type 'm5.xlarge' is not supported")
        end_of(emr, run_cluster(PASS, Instances={"MasterInstanceType": "r5.xlarge"}))
    assert live(emr, "refused") == []


@pytest.mark.parametrize(
    ("instances", "fields", "code", "message"),
    [
        ({"InstanceFleets": FLEETS}, {}, "INSTANCE_FLEET_TIMEOUT", "timeout"),
        (
            {"MasterInstanceType": "m5.xlarge"},
            {},
            "INTERNAL_ERROR",
            "out of capacity for m5.xlarge",
        ),
        (
            {"MasterInstanceType": "m5.xlarge"},
            {"reason": "VALIDATION_ERROR"},
            "VALIDATION_ERROR",
            "m5.xlarge is not supported in the requested availability zone",
        ),
    ],
)
def test_missing_capacity_ends_an_accepted_cluster_before_it_is_ready(
    emr: "EMRClient",
    fault: SetFaults,
    instances: Any,
    fields: dict[str, Any],
    code: str,
    message: str,
) -> None:
    steps: Any = [PASS]
    with fault({"kind": "capacity", **fields}):
        cluster_id = emr.run_job_flow(Name="c", Instances=instances, Steps=steps)["JobFlowId"]
        status = end_of(emr, cluster_id)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"]["Code"] == code
    assert message in status["StateChangeReason"]["Message"]
    assert "ReadyDateTime" not in status["Timeline"]
    assert states(emr, cluster_id) == ["CANCELLED"]
    if code == "INTERNAL_ERROR":
        detail = status["ErrorDetails"][0]
        assert detail["ErrorCode"] == "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
        assert {"instance-type": "m5.xlarge"} in detail["ErrorData"]
    with pytest.raises(WaiterError):
        emr.get_waiter("cluster_running").wait(ClusterId=cluster_id, WaiterConfig=FAST)


def test_slow_start_keeps_the_cluster_starting_until_it_is_terminated_or_the_rule_is_gone(
    emr: "EMRClient", run_cluster: RunCluster, fault: SetFaults
) -> None:
    with fault({"kind": "slow_start", "seconds": 600}):
        cluster_id = run_cluster(PASS)
        until(lambda: emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"])
        emr.terminate_job_flows(JobFlowIds=[cluster_id])
        status = end_of(emr, cluster_id)
    assert status["StateChangeReason"]["Code"] == "USER_REQUEST"
    assert states(emr, cluster_id) == ["CANCELLED"]
    with fault({"kind": "slow_start", "seconds": 600}) as fired:
        cluster_id = run_cluster(PASS)
        until(lambda: fired()[0]["fired"])
    assert end_of(emr, cluster_id)["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"
    with fault({"kind": "slow_start", "seconds": 1.5}):
        timeline = end_of(emr, run_cluster(PASS))["Timeline"]
    assert (timeline["ReadyDateTime"] - timeline["CreationDateTime"]).total_seconds() > 1.5


def test_bootstrap_failure_names_action_and_code_and_leaves_its_log(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster, fault: SetFaults
) -> None:
    s3.put_object(Bucket="code", Key="boot.sh", Body=b"")
    action = {"Name": "install", "ScriptBootstrapAction": {"Path": "s3://code/boot.sh"}}
    rule = {"kind": "bootstrap_failure", "code": 7, "stderr": "no wheel\n"}
    with fault({**rule, "match": {"tags": {"stage": "train"}}}):
        tags = [{"Key": "stage", "Value": "train"}]
        cluster_id = run_cluster(PASS, BootstrapActions=[action], Tags=tags)
        status = end_of(emr, cluster_id)
        other = end_of(emr, run_cluster(PASS, BootstrapActions=[action]))
    node = emr.list_instances(ClusterId=cluster_id)["Instances"][0]["Ec2InstanceId"]
    assert status["StateChangeReason"] == {
        "Code": "BOOTSTRAP_FAILURE",
        "Message": f"On the master instance ({node}), bootstrap action 1 returned a non-zero return code",
    }
    detail = status["ErrorDetails"][0]
    assert detail["ErrorCode"] == "BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE"
    assert {"return-code": "7"} in detail["ErrorData"]
    assert {"amazon-s3-path": "s3://code/boot.sh"} in detail["ErrorData"]
    key = f"emr/{cluster_id}/node/{node}/bootstrap-actions/1/stderr.gz"
    assert read_log(s3, "logs", key) == "no wheel\n"
    assert states(emr, cluster_id) == ["CANCELLED"]
    assert other["State"] == "TERMINATED"


def test_bootstrap_failure_without_actions_is_failed_provisioning(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster, fault: SetFaults
) -> None:
    with fault({"kind": "bootstrap_failure", "stderr": "no spark\n"}):
        cluster_id = run_cluster(PASS)
        reason = end_of(emr, cluster_id)["StateChangeReason"]
    assert reason["Code"] == "BOOTSTRAP_FAILURE"
    assert reason["Message"].endswith(", application provisioning failed")
    found = s3.list_objects_v2(Bucket="logs", Prefix=f"emr/{cluster_id}/node/")["Contents"]
    assert read_log(s3, "logs", found[0]["Key"]) == "no spark\n"


# Steps


def logs_of(emr: "EMRClient", s3: "S3Client", cluster_id: str) -> dict[str, str]:
    step_id = emr.list_steps(ClusterId=cluster_id)["Steps"][-1]["Id"]
    prefix = f"emr/{cluster_id}/steps/{step_id}"
    names = ("stdout", "stderr", "controller")
    return {name: read_log(s3, "logs", f"{prefix}/{name}.gz") for name in names}


@pytest.mark.parametrize(("when", "stdout"), [("before", ""), ("after", "ran\n")])
def test_step_exits_with_the_code_instead_of_or_after_its_work(
    emr: "EMRClient",
    s3: "S3Client",
    run_cluster: RunCluster,
    fault: SetFaults,
    when: str,
    stdout: str,
) -> None:
    rule = {"kind": "step_exit", "code": 137, "when": when, "stderr": "Killed\n"}
    with fault({**rule, "match": {"step": "step"}}):
        cluster_id = run_cluster(PASS, {**PASS, "Name": "next"})
        status = end_of(emr, cluster_id)
    assert status["StateChangeReason"]["Code"] == "STEP_FAILURE"
    assert states(emr, cluster_id) == ["FAILED", "CANCELLED"]
    failed = emr.list_steps(ClusterId=cluster_id)["Steps"][-1]["Status"]["FailureDetails"]
    assert failed["Message"] == "Killed"
    logs = logs_of(emr, s3, cluster_id)
    assert (logs["stdout"], logs["stderr"]) == (stdout, "Killed\n")
    assert "exit code 137" in logs["controller"]


@pytest.mark.parametrize(("when", "stdout"), [("before", ""), ("after", "ran\n")])
def test_hanging_step_runs_until_it_is_killed(
    emr: "EMRClient",
    s3: "S3Client",
    run_cluster: RunCluster,
    fault: SetFaults,
    when: str,
    stdout: str,
) -> None:
    with fault({"kind": "step_hang", "when": when, "times": 1}):
        cluster_id = run_cluster(PASS)
        until(lambda: states(emr, cluster_id) == ["RUNNING"])
        # Its logs come while it runs: with "after" they show the work that is done.
        until(lambda: shipped(s3, cluster_id))
        until(lambda: logs_of(emr, s3, cluster_id)["stdout"] == stdout)
        assert states(emr, cluster_id) == ["RUNNING"]
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    assert end_of(emr, cluster_id)["StateChangeReason"]["Code"] == "USER_REQUEST"
    assert states(emr, cluster_id) == ["INTERRUPTED"]


def shipped(s3: "S3Client", cluster_id: str) -> list[str]:
    found = s3.list_objects_v2(Bucket="logs", Prefix=f"emr/{cluster_id}/steps/")
    return [item["Key"] for item in found.get("Contents", [])]


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ({}, "All instances in the job flow are terminated"),
        (
            {"SlaveInstanceType": "m5.xlarge", "InstanceCount": 3},
            "All slaves in the job flow were terminated due to Spot",
        ),
    ],
)
def test_loss_of_all_spot_instances_ends_the_cluster_in_mid_step(
    emr: "EMRClient",
    run_cluster: RunCluster,
    fault: SetFaults,
    instances: dict[str, Any],
    message: str,
) -> None:
    forever = step("python3", "-c", "import signal; signal.pause()", action="CONTINUE")
    with fault({"kind": "spot_loss", "seconds": 0.2}):
        cluster_id = run_cluster(forever, PASS, Instances=instances)
        status = end_of(emr, cluster_id)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"] == {"Code": "INSTANCE_FAILURE", "Message": message}
    assert states(emr, cluster_id) == ["CANCELLED", "CANCELLED"]


def test_loss_of_some_spot_instances_fails_the_step(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster, fault: SetFaults
) -> None:
    forever = step("python3", "-c", "import signal; signal.pause()")
    with fault({"kind": "spot_loss", "lost": "some", "seconds": 0.2}):
        cluster_id = run_cluster(forever)
        status = end_of(emr, cluster_id)
    assert status["StateChangeReason"]["Code"] == "STEP_FAILURE"
    assert states(emr, cluster_id) == ["FAILED"]
    assert logs_of(emr, s3, cluster_id)["stderr"] == LOST


def test_late_logs_come_after_the_cluster_has_ended(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster, fault: SetFaults
) -> None:
    with fault({"kind": "late_logs", "seconds": 1.5}):
        # The server ships every 0.3 s: this step is long enough to have shown logs while it ran.
        cluster_id = run_cluster(step("python3", "-c", "import time; time.sleep(1); print('x')"))
        end_of(emr, cluster_id)
        assert shipped(s3, cluster_id) == []
    until(lambda: len(shipped(s3, cluster_id)) == 3)
    assert logs_of(emr, s3, cluster_id)["stdout"] == "x\n"

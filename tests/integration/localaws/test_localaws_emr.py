import gzip
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from localaws.runner import group_members
from localaws.testing import Server, client, read_log, running, start, stop
from localaws.testing import command_step as step
from localaws.testing import step_states as states
from localaws.testing import wait_for_end as end_of
from localaws.testing import wait_until as until

if TYPE_CHECKING:
    from mypy_boto3_emr.client import EMRClient
    from mypy_boto3_s3.client import S3Client

pytestmark = pytest.mark.localaws

RunCluster = Callable[..., str]
FAST: Any = {"Delay": 0, "MaxAttempts": 3000}

# Ignores SIGTERM in parent and child, and says in a file when both are up.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    open(sys.argv[1], "w").write(str(os.getpgid(0)))
while True:
    time.sleep(60)
"""


def log(s3: "S3Client", key: str) -> str:
    return read_log(s3, "logs", key)


def python(code: str, *args: str, action: str = "TERMINATE_CLUSTER") -> dict[str, Any]:
    return step("python3", "-c", code, *args, action=action)


def stubborn(path: Path) -> dict[str, Any]:
    return python(STUBBORN, str(path))


def group_of(path: Path) -> int:
    return int(until(lambda: path.read_text() if path.exists() else ""))


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def test_transient_cluster_runs_its_steps_and_ends(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster
) -> None:
    code = "import os, sys; print('hello', os.environ['EMR_CLUSTER_ID']); print('err', file=sys.stderr)"
    cluster_id = run_cluster(python(code), step("bash", "-c", "echo two"))
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster_id, WaiterConfig=FAST)
    status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
    assert status["StateChangeReason"] == {
        "Code": "ALL_STEPS_COMPLETED",
        "Message": "Steps completed",
    }
    times = [status["Timeline"][f"{name}DateTime"] for name in ("Creation", "Ready", "End")]  # type: ignore[literal-required]
    assert times == sorted(times)
    first = emr.list_steps(ClusterId=cluster_id)["Steps"][-1]
    emr.get_waiter("step_complete").wait(
        ClusterId=cluster_id, StepId=first["Id"], WaiterConfig=FAST
    )
    times = [first["Status"]["Timeline"][f"{n}DateTime"] for n in ("Creation", "Start", "End")]  # type: ignore[literal-required]
    assert times == sorted(times)
    prefix = f"emr/{cluster_id}/steps/{first['Id']}"
    assert log(s3, f"{prefix}/stdout.gz") == f"hello {cluster_id}\n"
    assert log(s3, f"{prefix}/stderr.gz") == "err\n"
    assert "exit code 0" in log(s3, f"{prefix}/controller.gz")


def test_plain_python_step_reaches_the_endpoint(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster
) -> None:
    code = "import boto3; boto3.client('s3').put_object(Bucket='data', Key='by-step', Body=b'x')"
    end_of(emr, run_cluster(step("/usr/bin/python3.11", "-c", code)))
    assert s3.get_object(Bucket="data", Key="by-step")["Body"].read() == b"x"


def test_failed_step_terminates_the_cluster_and_says_why(
    emr: "EMRClient", run_cluster: RunCluster
) -> None:
    code = "raise SystemExit('expected a snapshot, found none: name another date')"
    cluster_id = run_cluster(python(code), python("print('never')"))
    status = end_of(emr, cluster_id)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"] == {
        "Code": "STEP_FAILURE",
        "Message": "Shut down as step failed",
    }
    assert states(emr, cluster_id) == ["FAILED", "CANCELLED"]
    failed = emr.list_steps(ClusterId=cluster_id, StepStates=["FAILED"])["Steps"][0]
    details = failed["Status"]["FailureDetails"]
    assert details["Message"] == "expected a snapshot, found none: name another date"
    assert details["LogFile"] == f"s3://logs/emr/{cluster_id}/steps/{failed['Id']}/stderr.gz"
    with pytest.raises(WaiterError):
        emr.get_waiter("cluster_terminated").wait(ClusterId=cluster_id, WaiterConfig=FAST)


def test_continue_goes_on_after_a_failed_step(emr: "EMRClient", run_cluster: RunCluster) -> None:
    cluster_id = run_cluster(python("exit(3)", action="CONTINUE"), python("pass"))
    status = end_of(emr, cluster_id)
    assert status["State"] == "TERMINATED"
    assert status["StateChangeReason"]["Message"] == "Steps completed with errors"
    assert states(emr, cluster_id) == ["FAILED", "COMPLETED"]


def test_cancel_and_wait_cancels_the_rest_and_waits_for_new_steps(
    emr: "EMRClient", run_cluster: RunCluster
) -> None:
    cluster_id = run_cluster(
        python("exit(3)", action="CANCEL_AND_WAIT"), python("pass"), keep_alive=True
    )
    emr.get_waiter("cluster_running").wait(ClusterId=cluster_id, WaiterConfig=FAST)
    until(lambda: states(emr, cluster_id) == ["FAILED", "CANCELLED"])
    role = "arn:aws:iam::123456789012:role/of-the-step"
    added = emr.add_job_flow_steps(
        JobFlowId=cluster_id,
        Steps=[python("pass")],  # type: ignore[list-item]
        ExecutionRoleArn=role,
    )["StepIds"]
    shown = emr.describe_step(ClusterId=cluster_id, StepId=added[0])["Step"]
    assert shown["ExecutionRoleArn"] == role
    emr.get_waiter("step_complete").wait(ClusterId=cluster_id, StepId=added[0], WaiterConfig=FAST)
    until(lambda: cluster_id in listed(emr, ["WAITING"]))
    emr.set_keep_job_flow_alive_when_no_steps(
        JobFlowIds=[cluster_id], KeepJobFlowAliveWhenNoSteps=False
    )
    assert end_of(emr, cluster_id)["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"


def listed(emr: "EMRClient", wanted: list[Any], **arguments: Any) -> list[str]:
    found = emr.list_clusters(ClusterStates=wanted, **arguments)["Clusters"]
    return [cluster["Id"] for cluster in found]


def test_terminating_kills_a_step_that_ignores_sigterm_and_its_child(
    emr: "EMRClient", run_cluster: RunCluster, tmp_path: Path
) -> None:
    cluster_id = run_cluster(stubborn(tmp_path / "group"), python("pass"))
    group = group_of(tmp_path / "group")
    assert group_members(group)
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    status = end_of(emr, cluster_id)
    assert status["State"] == "TERMINATED"
    assert status["StateChangeReason"]["Code"] == "USER_REQUEST"
    assert states(emr, cluster_id) == ["INTERRUPTED", "CANCELLED"]
    assert not group_members(group)


def test_cancelling_kills_a_running_step_and_the_next_one_runs(
    emr: "EMRClient", run_cluster: RunCluster, tmp_path: Path
) -> None:
    cluster_id = run_cluster(
        stubborn(tmp_path / "group"), python("pass"), python("print('runs')"), keep_alive=True
    )
    group = group_of(tmp_path / "group")
    ids = [found["Id"] for found in reversed(emr.list_steps(ClusterId=cluster_id)["Steps"])]
    found = emr.cancel_steps(ClusterId=cluster_id, StepIds=ids[:2])["CancelStepsInfoList"]
    assert [info["Status"] for info in found] == ["SUBMITTED", "SUBMITTED"]
    until(lambda: states(emr, cluster_id) == ["CANCELLED", "CANCELLED", "COMPLETED"])
    assert not group_members(group)
    again = emr.cancel_steps(ClusterId=cluster_id, StepIds=ids[:1])["CancelStepsInfoList"]
    assert again[0]["Status"] == "FAILED"
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    end_of(emr, cluster_id)


def test_process_a_step_leaves_behind_is_ended_with_it(
    emr: "EMRClient", run_cluster: RunCluster, tmp_path: Path
) -> None:
    left = f"sleep 600 & echo $$ > {tmp_path}/group"
    end_of(emr, run_cluster(step("bash", "-c", left)))
    assert not group_members(int((tmp_path / "group").read_text()))


def test_logs_of_a_running_step_arrive_while_it_runs(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster
) -> None:
    cluster_id = run_cluster(python("import time; print('early', flush=True); time.sleep(600)"))

    def shipped() -> bool:
        found = s3.list_objects_v2(Bucket="logs", Prefix=f"emr/{cluster_id}/").get("Contents", [])
        keys = [item["Key"] for item in found if item["Key"].endswith("stdout.gz")]
        return bool(keys) and log(s3, keys[0]) == "early\n"

    until(shipped)
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    end_of(emr, cluster_id)


def test_missing_bootstrap_script_fails_the_cluster(
    emr: "EMRClient", run_cluster: RunCluster
) -> None:
    action = {"Name": "install", "ScriptBootstrapAction": {"Path": "s3://code/none.sh"}}
    cluster_id = run_cluster(python("pass"), BootstrapActions=[action])
    status = end_of(emr, cluster_id)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    assert "s3://code/none.sh" in status["StateChangeReason"]["Message"]
    assert {"amazon-s3-path": "s3://code/none.sh"} in status["ErrorDetails"][0]["ErrorData"]
    assert states(emr, cluster_id) == ["CANCELLED"]


def test_bootstrap_script_is_skipped_and_the_log_says_so(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster, tmp_path: Path
) -> None:
    script = f"touch {tmp_path}/ran"
    s3.put_object(Bucket="code", Key="boot.sh", Body=script.encode())
    action = {
        "Name": "install",
        "ScriptBootstrapAction": {"Path": "s3://code/boot.sh", "Args": ["a"]},
    }
    cluster_id = run_cluster(python("pass"), BootstrapActions=[action])
    assert end_of(emr, cluster_id)["State"] == "TERMINATED"
    node = emr.list_instances(ClusterId=cluster_id)["Instances"][0]["Ec2InstanceId"]
    text = log(s3, f"emr/{cluster_id}/node/{node}/bootstrap-actions/1/controller.gz")
    assert "skipped" in text
    assert not (tmp_path / "ran").exists()
    listed_actions = emr.list_bootstrap_actions(ClusterId=cluster_id)["BootstrapActions"]
    assert listed_actions == [{"Name": "install", "ScriptPath": "s3://code/boot.sh", "Args": ["a"]}]


def test_unknown_ids_are_emrs_errors(emr: "EMRClient", run_cluster: RunCluster) -> None:
    known = run_cluster(keep_alive=True)
    not_valid = ("InvalidRequestException", "Cluster id 'j-NONE' is not valid.")
    assert refused(lambda: emr.describe_cluster(ClusterId="j-NONE")) == not_valid
    with pytest.raises(ClientError) as error:
        emr.describe_cluster(ClusterId="j-NONE")
    assert error.value.response["ErrorCode"] == "NoSuchCluster"  # type: ignore[typeddict-item]  # EMR's own field
    assert refused(lambda: emr.list_steps(ClusterId="j-NONE")) == not_valid
    assert refused(lambda: emr.describe_step(ClusterId="j-NONE", StepId="s")) == not_valid
    assert refused(lambda: emr.cancel_steps(ClusterId="j-NONE", StepIds=["s"])) == not_valid
    assert refused(lambda: emr.list_instance_fleets(ClusterId="j-NONE")) == not_valid
    assert refused(lambda: emr.add_tags(ResourceId="j-NONE", Tags=[])) == not_valid
    assert refused(lambda: emr.describe_step(ClusterId=known, StepId="s-NONE")) == (
        "InvalidRequestException",
        "Step id 's-NONE' is not valid.",
    )
    assert refused(lambda: emr.terminate_job_flows(JobFlowIds=["j-NONE"])) == (
        "ValidationException",
        "Specified job flow ID not valid",
    )
    emr.terminate_job_flows(JobFlowIds=[known])
    end_of(emr, known)
    code, message = refused(
        lambda: emr.add_job_flow_steps(JobFlowId=known, Steps=[python("pass")])  # type: ignore[list-item]
    )
    assert code == "ValidationException"
    assert "may not be modified" in message


def test_protected_cluster_is_not_terminated(emr: "EMRClient", run_cluster: RunCluster) -> None:
    cluster_id = run_cluster(keep_alive=True, Instances={"TerminationProtected": True})
    code, message = refused(lambda: emr.terminate_job_flows(JobFlowIds=[cluster_id]))
    assert code == "ValidationException"
    assert "termination protected" in message
    emr.set_termination_protection(JobFlowIds=[cluster_id], TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    assert end_of(emr, cluster_id)["State"] == "TERMINATED"


def test_request_is_described_as_it_was_sent(emr: "EMRClient", run_cluster: RunCluster) -> None:
    fleets = [
        {
            "InstanceFleetType": kind,
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m6g.xlarge", "WeightedCapacity": 1}],
        }
        for kind in ("MASTER", "CORE")
    ]
    configurations: Any = [
        {
            "Classification": "spark-env",
            "Properties": {},
            "Configurations": [{"Classification": "export", "Properties": {"A": "b"}}],
        }
    ]
    instances = {
        "InstanceFleets": fleets,
        "Ec2SubnetIds": ["subnet-1"],
        "KeepJobFlowAliveWhenNoSteps": True,
    }
    cluster_id = str(
        emr.run_job_flow(
            Name="described",
            ReleaseLabel="emr-7.14.0",
            Applications=[{"Name": "Spark"}],
            Instances=instances,  # type: ignore[arg-type]
            Configurations=configurations,
            Tags=[{"Key": "run", "Value": "1"}],
            AutoTerminationPolicy={"IdleTimeout": 3600},
            JobFlowRole="profile",
            ServiceRole="service",
            StepConcurrencyLevel=1,
        )["JobFlowId"]
    )
    emr.add_tags(ResourceId=cluster_id, Tags=[{"Key": "late", "Value": "2"}])
    cluster = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    assert cluster["Configurations"] == configurations
    assert cluster["ReleaseLabel"] == "emr-7.14.0"
    assert cluster["InstanceCollectionType"] == "INSTANCE_FLEET"
    assert cluster["Tags"] == [{"Key": "run", "Value": "1"}, {"Key": "late", "Value": "2"}]
    assert cluster["Ec2InstanceAttributes"]["Ec2SubnetId"] == "subnet-1"
    found = emr.list_instance_fleets(ClusterId=cluster_id)["InstanceFleets"]
    assert [fleet["InstanceFleetType"] for fleet in found] == ["MASTER", "CORE"]
    policy = emr.get_auto_termination_policy(ClusterId=cluster_id)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 3600}
    emr.put_auto_termination_policy(ClusterId=cluster_id, AutoTerminationPolicy={"IdleTimeout": 60})
    policy = emr.get_auto_termination_policy(ClusterId=cluster_id)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 60}
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    end_of(emr, cluster_id)


def test_instance_groups_are_listed(emr: "EMRClient", run_cluster: RunCluster) -> None:
    cluster_id = run_cluster(
        python("pass"), Instances={"SlaveInstanceType": "r5.xlarge", "InstanceCount": 3}
    )
    found = emr.list_instance_groups(ClusterId=cluster_id)["InstanceGroups"]
    assert [(g["InstanceGroupType"], g["RequestedInstanceCount"]) for g in found] == [
        ("MASTER", 1),
        ("CORE", 2),
    ]
    end_of(emr, cluster_id)


def test_cluster_of_three_primaries_is_kept_and_protected(
    emr: "EMRClient",
) -> None:
    groups: Any = [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 3}]
    cluster_id = str(emr.run_job_flow(Name="ha", Instances={"InstanceGroups": groups})["JobFlowId"])
    cluster = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    assert (cluster["AutoTerminate"], cluster["TerminationProtected"]) == (False, True)
    assert len(emr.list_instances(ClusterId=cluster_id)["Instances"]) == 3
    emr.set_termination_protection(JobFlowIds=[cluster_id], TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    end_of(emr, cluster_id)


def test_older_description_finds_clusters_by_id_and_state(
    emr: "EMRClient", run_cluster: RunCluster
) -> None:
    cluster_id = run_cluster(python("pass"))
    end_of(emr, cluster_id)
    found = emr.describe_job_flows(JobFlowIds=[cluster_id])["JobFlows"]
    assert [(f["JobFlowId"], f["ExecutionStatusDetail"]["State"]) for f in found] == [
        (cluster_id, "COMPLETED")
    ]
    waiting = emr.describe_job_flows(JobFlowStates=["WAITING"])["JobFlows"]
    assert cluster_id not in {flow["JobFlowId"] for flow in waiting}
    assert refused(lambda: emr.describe_job_flows(JobFlowIds=["j-NONE"]))[0] == (
        "ValidationException"
    )


def test_clusters_are_listed_by_state_and_time_newest_first(
    emr: "EMRClient", run_cluster: RunCluster
) -> None:
    older, newer = run_cluster(python("pass")), run_cluster(python("pass"))
    end_of(emr, older)
    end_of(emr, newer)
    created = emr.describe_cluster(ClusterId=newer)["Cluster"]["Status"]["Timeline"]
    found = listed(emr, ["TERMINATED"])
    assert found.index(newer) < found.index(older)
    recent = listed(emr, ["TERMINATED"], CreatedAfter=created["CreationDateTime"])
    assert newer in recent
    assert older not in recent
    assert older not in listed(emr, ["TERMINATED_WITH_ERRORS", "RUNNING"])


def test_long_lists_come_in_pages_whatever_happens_between_them(own_directory: Path) -> None:
    with running(own_directory, env={"LOCALAWS_START_SECONDS": "600"}) as server:
        emr = client("emr", server.endpoint_url)
        instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1}

        def start(number: int) -> str:
            return str(emr.run_job_flow(Name=f"c{number}", Instances=instances)["JobFlowId"])

        ids = [start(number) for number in range(120)]
        pages = emr.get_paginator("list_clusters").paginate(ClusterStates=["STARTING"])
        sizes, seen = [], []
        for page in pages:
            sizes.append(len(page["Clusters"]))
            seen += [found["Id"] for found in page["Clusters"]]
            if len(seen) == 50:
                start(120)  # comes before the first page
                emr.terminate_job_flows(JobFlowIds=[seen[-1]])  # the marker's own cluster leaves
                end_of(emr, seen[-1])
        assert sizes == [50, 50, 20]
        assert seen == ids[::-1]
        steps = [python("pass")] * 60
        emr.add_job_flow_steps(JobFlowId=ids[0], Steps=steps)
        listed_steps = emr.get_paginator("list_steps").paginate(ClusterId=ids[0])
        step_ids = [found["Id"] for page in listed_steps for found in page["Steps"]]
        assert len(set(step_ids)) == len(step_ids) == 60
        code, message = refused(lambda: emr.list_clusters(Marker="nonsense"))
        assert (code, "nonsense" in message) == ("InvalidRequestException", True)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (step("spark-submit", "--master", "yarn"), "expected an application file"),
        (step("spark-submit", "s3://code/none.py"), "expected an object at s3://code/none.py"),
        (
            step("spark-submit", "--archives", "s3://code/cut.tar.gz#x", "s3://code/cut.tar.gz"),
            "expected a whole .zip, .tar or .tar.gz in cut.tar.gz",
        ),
        (step("no-such-program"), "no-such-program"),
        (
            {"Name": "jar", "HadoopJarStep": {"Jar": "s3://code/x.jar"}},
            "the embedded EMR runs command-runner.jar",
        ),
    ],
)
def test_step_that_cannot_start_fails_with_the_reason(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster, sent: Any, message: str
) -> None:
    s3.put_object(Bucket="code", Key="cut.tar.gz", Body=gzip.compress(b"x" * 10_000)[:20])
    cluster_id = run_cluster(sent)
    end_of(emr, cluster_id)
    failed = emr.list_steps(ClusterId=cluster_id)["Steps"][0]
    details = failed["Status"]["FailureDetails"]
    assert message in details["Message"]
    key = details["LogFile"].removeprefix("s3://logs/")
    assert message in log(s3, key)


@pytest.fixture
def own_directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run_stubborn(server: Server, path: Path) -> tuple[Any, str, int]:
    emr = client("emr", server.endpoint_url)
    cluster_id = emr.run_job_flow(
        Name="long",
        Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1},
        Steps=[stubborn(path), python("pass")],
    )["JobFlowId"]
    return emr, cluster_id, group_of(path)


def test_sigterm_ends_steps_and_clusters_stay_describable(
    own_directory: Path, tmp_path: Path
) -> None:
    settings = {"LOCALAWS_KILL_GRACE_SECONDS": "1"}
    with running(own_directory, env=settings) as server:
        _, cluster_id, group = run_stubborn(server, tmp_path / "group")
        stop(server)
        assert server.process.returncode == 0
        assert not group_members(group)
    with running(own_directory) as server:
        emr = client("emr", server.endpoint_url)
        status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
        assert status["State"] == "TERMINATED_WITH_ERRORS"
        assert status["StateChangeReason"]["Code"] == "INTERNAL_ERROR"
        assert states(emr, cluster_id) == ["INTERRUPTED", "CANCELLED"]
        assert server.health()["clusters"] == {cluster_id: "TERMINATED_WITH_ERRORS"}


def test_kill_9_of_the_server_leaves_no_step_behind(own_directory: Path, tmp_path: Path) -> None:
    server = start(own_directory)
    _, cluster_id, group = run_stubborn(server, tmp_path / "group")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    until(lambda: not group_members(group))
    with running(own_directory) as again:
        emr = client("emr", again.endpoint_url)
        status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
        assert status["State"] == "TERMINATED_WITH_ERRORS"
        assert status["StateChangeReason"]["Code"] == "INTERNAL_ERROR"
        assert "restarted" in status["StateChangeReason"]["Message"]
        assert states(emr, cluster_id) == ["INTERRUPTED", "CANCELLED"]


def test_web_page_cannot_start_a_cluster(server: Server) -> None:
    before = server.health()["clusters"]
    headers = {
        "Origin": "https://example.com",
        "X-Amz-Target": "ElasticMapReduce.RunJobFlow",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=a/20240101/us-east-1/elasticmapreduce/aws4_request",
    }
    body = json.dumps({"Name": "evil", "Instances": {"MasterInstanceType": "m5.xlarge"}}).encode()
    request = urllib.request.Request(server.endpoint_url, body, headers)  # noqa: S310  (loopback http)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)  # noqa: S310  (loopback http)
    assert server.health()["clusters"] == before
    del headers["Origin"]  # the same request without it is served: the header made the difference
    request = urllib.request.Request(server.endpoint_url, body, headers)  # noqa: S310  (loopback http)
    with urllib.request.urlopen(request) as response:  # noqa: S310  (loopback http)
        assert json.load(response)["JobFlowId"] in server.health()["clusters"]


def test_step_does_not_see_the_servers_python_path(
    emr: "EMRClient", s3: "S3Client", run_cluster: RunCluster
) -> None:
    code = "import os, sys; print(sys.executable, os.environ.get('PYTHONPATH'))"
    cluster_id = run_cluster(python(code))
    end_of(emr, cluster_id)
    step_id = emr.list_steps(ClusterId=cluster_id)["Steps"][0]["Id"]
    text = log(s3, f"emr/{cluster_id}/steps/{step_id}/stdout.gz")
    assert text == f"{sys.executable} None\n"

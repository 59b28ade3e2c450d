"""What leaves the machine is a committed file: a change of a cluster is seen as a diff.

``pytest tests/dags/test_requests.py --rebuild-golden`` writes the files again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from recommender import environment
from recommender.clusters.staging import StagedCode
from recommender.environment import Environment
from recommender.errors import ConfigError
from recsys_emr import stages
from recsys_emr.failures import Kind
from recsys_emr.job_flow import Stage, Step, run_job_flow
from recsys_emr.retry import fallback
from recsys_emr.validation import check_request

GOLDEN = Path(__file__).parent / "golden"
CODE = "0123456789abcdef"
RUN_ID = "scheduled__2017-12-31T02:00:00+00:00"
PARAMS = {"k": 20, "search_trials": 12, "wide_search": False}
LABELS = ("emr-7.14.0", "emr-spark-8.1.0")
SHAPES = {"preprocessing": "preprocess", "single_node": "train", "distributed": "train"}
CASES = [
    *(("local", shape, "emr-7.14.0") for shape in ("preprocessing", "single_node")),
    *(("aws", shape, label) for shape in SHAPES for label in LABELS),
]


def relabelled(name: str, label: str = "emr-7.14.0", **emr: Any) -> Environment:
    env = environment.load(name)
    changed = env.emr.model_validate({**env.emr.model_dump(), "release_label": label, **emr})
    return env.model_copy(update={"emr": changed})


def run_of(env: Environment) -> dict[str, Any]:
    date = dt.date(2017, 12, 31)
    run = env.locations.run("complete_journey", date, "run-key")
    return {
        "snapshot": date.isoformat(),
        "snapshot_uri": env.locations.snapshot("complete_journey", date),
        "dataset": run.dataset,
        "quarantine": run.quarantine,
        "study": run.study,
        "setting": env.locations.setting("complete_journey"),
        "candidate": run.candidate,
        "report": run.report,
        "verification": run.verification,
    }


def request_of(env: Environment, shape: str) -> dict[str, Any]:
    stage = SHAPES[shape]
    champion = env.locations.version("complete_journey", "2017-11-30-00000000")
    plan = {
        "preprocess": stages.preprocess(run_of(env)),
        "train": stages.train(run_of(env), PARAMS, champion, "implicit", "implicit, asked for"),
    }[stage]
    steps = [Step(step["job"], step["arguments"]) for step in plan["steps"]]
    owner = Stage("retrain_complete_journey", RUN_ID, stage)
    code = StagedCode(env.locations.code(CODE), CODE)
    return run_job_flow(env, env.shape(shape), owner, code, steps)


def fleet_of(request: dict[str, Any], kind: str) -> dict[str, Any]:
    fleets = request["Instances"]["InstanceFleets"]
    found: dict[str, Any] = next(f for f in fleets if f["InstanceFleetType"] == kind)
    return found


@pytest.mark.parametrize(("name", "shape", "label"), CASES)
def test_request_is_the_golden_one(
    name: str, shape: str, label: str, pytestconfig: pytest.Config
) -> None:
    request = request_of(relabelled(name, label), shape)
    golden = GOLDEN / f"{name}-{shape}-{label}.json"
    if pytestconfig.getoption("--rebuild-golden"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(json.dumps(request, indent=2) + "\n")
    assert request == json.loads(golden.read_text())


@pytest.mark.parametrize(("name", "shape", "label"), CASES)
def test_the_client_itself_takes_the_request(name: str, shape: str, label: str) -> None:
    client = boto3.client("emr", region_name="us-east-1")
    request = request_of(relabelled(name, label), shape)
    with Stubber(client) as stub:
        stub.add_response("run_job_flow", {"JobFlowId": "j-1"}, request)
        assert client.run_job_flow(**request)["JobFlowId"] == "j-1"


@pytest.mark.parametrize(("name", "shape", "label"), CASES)
def test_a_cluster_cannot_outlive_its_work(name: str, shape: str, label: str) -> None:
    request = request_of(relabelled(name, label), shape)
    assert request["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert request["Instances"]["TerminationProtected"] is False
    assert 60 <= request["AutoTerminationPolicy"]["IdleTimeout"] <= 604800
    assert {step["ActionOnFailure"] for step in request["Steps"]} == {"TERMINATE_CLUSTER"}
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags["recsys:dag"] == "retrain_complete_journey"
    assert tags["recsys:run"] == RUN_ID
    assert tags["recsys:stage"] == SHAPES[shape]


@pytest.mark.parametrize("wheelhouse", ["s3://bucket/wheelhouse/", None])
def test_temporary_files_are_sent_where_the_bootstrap_makes_a_directory(
    wheelhouse: str | None,
) -> None:
    request = request_of(relabelled("aws", wheelhouse=wheelhouse), "preprocessing")
    (exported,) = [c for c in request["Configurations"] if c["Classification"] == "spark-env"]
    told = exported["Configurations"][0]["Properties"].get("TMPDIR")
    assert (told, "BootstrapActions" in request) == (
        ("/mnt/tmp", True) if wheelhouse else (None, False)
    )


@pytest.mark.parametrize("label", LABELS)
def test_both_release_lines_get_the_same_cluster(label: str) -> None:
    request = request_of(relabelled("aws", label), "distributed")
    assert request.pop("ReleaseLabel") == label
    assert request["Applications"] == [{"Name": "Spark"}]
    other = request_of(relabelled("aws"), "distributed")
    del other["ReleaseLabel"]
    assert request == other
    assert "emrfs" not in json.dumps(request)  # the Spark line reads S3 by S3A alone


def test_training_outside_yarn_is_not_taken_for_idle() -> None:
    env = environment.load("aws")
    request = request_of(env, "single_node")
    assert request["AutoTerminationPolicy"]["IdleTimeout"] >= env.shape("single_node").minutes * 60


@pytest.mark.parametrize("shape", ["preprocessing", "distributed"])
def test_spot_is_for_task_nodes_and_has_a_way_out(shape: str) -> None:
    request = request_of(environment.load("aws"), shape)
    spot = fleet_of(request, "TASK")["LaunchSpecifications"]["SpotSpecification"]
    assert spot["TimeoutAction"] == "SWITCH_TO_ON_DEMAND"
    assert spot["AllocationStrategy"] == "price-capacity-optimized"
    assert spot["TimeoutDurationMinutes"] < 60  # EMR's own default keeps a night waiting
    for kind in ("MASTER", "CORE"):
        fleet = fleet_of(request, kind)
        assert fleet["TargetSpotCapacity"] == 0
        on_demand = fleet["LaunchSpecifications"]["OnDemandSpecification"]
        assert on_demand == {"AllocationStrategy": "lowest-price"}


def test_prioritized_types_keep_the_order_of_the_file() -> None:
    types = fleet_of(request_of(environment.load("aws"), "single_node"), "MASTER")
    assert [(t["InstanceType"], t["Priority"]) for t in types["InstanceTypeConfigs"]] == [
        ("r5.4xlarge", 0.0),
        ("m5.4xlarge", 1.0),
    ]


def test_roles_and_keys_reach_the_request() -> None:
    role, key = "arn:aws:iam::000000000000:role/steps", "arn:aws:kms:us-east-1:0:key/k"
    env = relabelled("aws", security_configuration="hardened", runtime_role=role, log_kms_key=key)
    request = request_of(env, "preprocessing")
    assert request["SecurityConfiguration"] == "hardened"
    assert request["StepExecutionRoleArn"] == role
    assert request["LogEncryptionKmsKeyId"] == key


def broken(path: Sequence[str | int], value: Any) -> dict[str, Any]:
    request = request_of(environment.load("aws"), "preprocessing")
    inner: Any = request
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return request


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["Nmae"], "x", 'Unknown parameter in input: "Nmae"'),
        (["StepConcurrencyLevel"], "1", "Invalid type for parameter StepConcurrencyLevel"),
        (["Steps"], [], "takes 1 to 256 in one request"),
        (["Steps", 0, "ActionOnFailure"], "TERMINATE", r"Steps\[0\].ActionOnFailure: 'TERMINATE'"),
        (["Instances", "InstanceFleets", 0, "InstanceFleetType"], "PRIMARY", "knows MASTER, CORE"),
    ],
)
def test_what_the_api_would_refuse_is_refused_before_it_is_asked(
    path: list[str | int], value: Any, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_request(broken(path, value))


def test_the_spark_line_takes_a_hundred_steps_and_spark_alone() -> None:
    request = request_of(relabelled("aws", "emr-spark-8.1.0"), "preprocessing")
    request["Steps"] *= 101
    request["Applications"] = [{"Name": "Spark"}, {"Name": "Hive"}]
    with pytest.raises(ConfigError, match=r"Steps: 101; .* 1 to 100(.|\n)*takes Spark alone"):
        check_request(request)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [Kind.CAPACITY, Kind.SPOT_LOSS])
@pytest.mark.parametrize("attempt", [2, 3])
def test_what_a_later_attempt_asks_for_is_valid_and_on_demand(
    shape: str, kind: Kind, attempt: int
) -> None:
    request = fallback(request_of(environment.load("aws"), shape), attempt, kind)
    check_request(request)
    for fleet in request["Instances"]["InstanceFleets"]:
        assert fleet["TargetSpotCapacity"] == 0
        assert "SpotSpecification" not in fleet.get("LaunchSpecifications", {})

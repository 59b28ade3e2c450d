"""What leaves the machine is a committed file: a change of a cluster is seen as a diff.

``pytest tests/dags/test_requests.py --rebuild-golden`` writes the files again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from botocore.validate import ParamValidator

from recommender import config, environment
from recommender.locations import Locations
from recommender.staging import StagedCode
from recsys_emr import pipeline
from recsys_emr.job_flow import Stage, Step, run_job_flow

GOLDEN = Path(__file__).parent / "golden"
CODE = "0123456789abcdef"
RUN_ID = "scheduled__2017-12-31T02:00:00+00:00"
PARAMS = {"k": 20, "search_trials": 12, "min_uplift": 0.02, "allow_replace_newer": False}


@pytest.fixture(params=["local", "aws"])
def env(request: pytest.FixtureRequest) -> environment.Environment:
    return environment.load(request.param)


def run_of(locations: Locations) -> dict[str, Any]:
    import datetime as dt

    date = dt.date(2017, 12, 31)
    run = locations.run("complete_journey", date, "run-key")
    return {
        "snapshot": date.isoformat(),
        "snapshot_uri": locations.snapshot("complete_journey", date),
        "dataset": run.dataset,
        "quarantine": run.quarantine,
        "candidate": run.candidate,
        "report": run.report,
    }


def request_of(
    env: environment.Environment, stage: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> dict[str, Any]:
    file = root / "include" / "config" / "recommenders" / "complete_journey.yaml"
    recommender = config.load(str(file))
    code = StagedCode(env.locations.code(CODE), CODE)
    run = run_of(env.locations)
    champion = env.locations.version("complete_journey", "2017-11-30-00000000")
    monkeypatch.setattr(pipeline, "_champion_uri", lambda _recommender: champion)
    plan = {
        "preprocess": lambda: pipeline.plan_preprocess(run),
        "train": lambda: pipeline.plan_train(recommender, run, PARAMS),
    }[stage]()
    shape = env.shape(getattr(recommender.clusters, stage))
    steps = [Step(step["job"], step["arguments"]) for step in plan["steps"]]
    owner = Stage("retrain_complete_journey", RUN_ID, stage)
    return run_job_flow(env, shape, owner, code, steps)


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_request_is_the_golden_one(
    env: environment.Environment,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    pytestconfig: pytest.Config,
) -> None:
    request = request_of(env, stage, monkeypatch, root)
    golden = GOLDEN / f"{env.name}-{stage}.json"
    if pytestconfig.getoption("--rebuild-golden"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(json.dumps(request, indent=2) + "\n")
    assert request == json.loads(golden.read_text())


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_request_is_valid_by_the_model_of_the_api(
    env: environment.Environment, stage: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    client = boto3.client("emr", region_name="us-east-1")
    shape = client.meta.service_model.operation_model("RunJobFlow").input_shape
    assert shape is not None
    request = request_of(env, stage, monkeypatch, root)
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    with Stubber(client) as stub:  # the client itself takes it too
        stub.add_response("run_job_flow", {"JobFlowId": "j-1"}, request)
        assert client.run_job_flow(**request)["JobFlowId"] == "j-1"


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_a_cluster_cannot_outlive_its_work(
    env: environment.Environment, stage: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    request = request_of(env, stage, monkeypatch, root)
    assert request["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert request["Instances"]["TerminationProtected"] is False
    assert 60 <= request["AutoTerminationPolicy"]["IdleTimeout"] <= 604800
    assert {step["ActionOnFailure"] for step in request["Steps"]} == {"TERMINATE_CLUSTER"}
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags["recsys:dag"] == "retrain_complete_journey"
    assert tags["recsys:run"] == RUN_ID
    assert tags["recsys:stage"] == stage


def test_training_outside_yarn_is_not_taken_for_idle(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    env = environment.load("aws")
    request = request_of(env, "train", monkeypatch, root)
    assert request["AutoTerminationPolicy"]["IdleTimeout"] >= env.shape("single_node").minutes * 60


def test_spot_capacity_has_a_way_out(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    request = request_of(environment.load("aws"), "preprocess", monkeypatch, root)
    task = next(
        f for f in request["Instances"]["InstanceFleets"] if f["InstanceFleetType"] == "TASK"
    )
    spot = task["LaunchSpecifications"]["SpotSpecification"]
    assert spot["TimeoutAction"] == "SWITCH_TO_ON_DEMAND"
    assert spot["TimeoutDurationMinutes"] < 60  # EMR's own default keeps a night waiting

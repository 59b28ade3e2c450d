"""Record every AWS call of a whole run: what the policies allow is held against this record.

The record is ``tests/dags/golden/calls.json``; ``--rebuild-golden`` writes it again. The fast tests
beside it (``tests/dags/test_policies.py``) compare it with the policies, both ways. What a good first
run has no reason to do, the pipeline's own functions do here afterwards, each with its role's key:
reading a failed step's log, ending a live cluster, loading a champion, clearing a former output.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import calls
import pytest
import shop
from cloud import LOCATIONS

from demo import airflow
from demo.paths import BUCKETS
from localaws import testing
from recommender import artifact, registry, storage
from recommender.errors import NotFoundError
from recommender.locations import join
from recommender.registry import changes, recommendations, retention
from recommender.registry.changes import Request
from recsys_emr import clusters, logs

pytestmark = [pytest.mark.airflow, pytest.mark.localaws, pytest.mark.spark]

GOLDEN = Path(__file__).parents[2] / "dags" / "golden" / "calls.json"
RECORDER = Path(__file__).parent / "recorder"
NOBODY = "tester"  # the access key of somebody whom no policy is about
SNAPSHOT = shop.SNAPSHOTS[-1].isoformat()


def client(service: str, endpoint: str) -> Any:
    """Return a client whose calls are not recorded as any role's."""
    return boto3.client(
        service,  # type: ignore[call-overload]  # the stubs want a literal
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=NOBODY,
        aws_secret_access_key=NOBODY,
    )


@contextmanager
def acting_as(key: str, endpoint: str) -> Iterator[None]:
    """Let the product's own code call AWS with a role's access key."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in testing.environment(endpoint).items():
            patch.setenv(name, value)
        patch.setenv("AWS_ACCESS_KEY_ID", key)
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials it has found
        storage.s3_client.cache_clear()
        yield
    storage.s3_client.cache_clear()


def run_dag(folder: Path, endpoint: str, dag_id: str, **conf: object) -> str:
    aws = {**testing.environment(endpoint), "AWS_ACCESS_KEY_ID": "airflow"}
    env = airflow.environment(folder / "airflow", aws, config=folder / "config")
    airflow.migrate(env)
    command = [str(airflow.AIRFLOW), "dags", "test", dag_id, "--conf"]
    done = subprocess.run(
        [*command, json.dumps(conf)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def read_a_log_and_end_a_cluster(endpoint: str) -> None:
    """Do what Airflow does for a run that failed, and for one that is ended from outside."""
    emr = client("emr", endpoint)
    ended = emr.list_clusters()["Clusters"][0]["Id"]
    step = emr.list_steps(ClusterId=ended)["Steps"][0]["Id"]
    (log,) = logs.fetch([logs.step_log(LOCATIONS.emr_logs, ended, step, "stderr")], patience=60)
    assert log.text
    live = emr.run_job_flow(
        Name="hangs",
        ReleaseLabel="emr-7.14.0",
        Instances={
            "MasterInstanceType": "m5.xlarge",
            "InstanceCount": 1,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        JobFlowRole="EMR_EC2_DefaultRole",
        ServiceRole="EMR_DefaultRole_V2",
        Tags=[{"Key": "recsys:dag", "Value": "retrain_shop"}],
    )["JobFlowId"]
    clusters.terminate(clusters.emr_client("us-east-1"), live)
    assert testing.wait_for_end(emr, live)["State"] == "TERMINATED"


def move_the_champion_and_prune(champion: str) -> None:
    """Do what the DAGs for rollback and retention do; a second version is there to be deleted."""
    asked = Request("shop", "ada", "a test", dt.datetime.now(dt.UTC))
    version = champion.rsplit("/", 1)[1]
    with pytest.raises(NotFoundError, match="expected a champion before"):
        changes.roll_back(LOCATIONS, asked)
    assert not changes.promote(LOCATIONS, asked, version).moved
    # Older by its name; its manifest says the same as the champion's.
    older = LOCATIONS.version("shop", "2017-01-31-00000000")
    storage.copy(join(champion, "manifest.json"), join(older, "manifest.json"))
    retention.prune(LOCATIONS, asked, retention.Policy(last=1, champions=2))
    assert storage.list_children(LOCATIONS.versions("shop")) == [version]


def drop_the_oldest_lists() -> None:
    """Do what the DAG of everyone's lists does once there are more of them than are kept."""
    latest = recommendations.read(LOCATIONS, "shop")
    assert latest is not None
    now, copies = dt.datetime.now(dt.UTC), [f"copy-{n}" for n in range(recommendations.KEPT)]
    for copy in copies:
        uri = LOCATIONS.recommendation_run("shop", copy)
        storage.copy(join(latest.uri, "manifest.json"), join(uri, "manifest.json"))
        recommendations.publish(LOCATIONS, "shop", uri, copy, now)
    runs = join(LOCATIONS.recommendations("shop"), "runs")
    assert storage.list_children(runs) == copies


def load_the_champion_and_clear_an_output(champion: str) -> None:
    """Do what the jobs do in a later run, and in a second attempt at the same."""
    artifact.load(champion)
    (run,) = storage.list_children(join(LOCATIONS.work, "runs", "shop", SNAPSHOT))
    report = join(LOCATIONS.work, "runs", "shop", SNAPSHOT, run, "report")
    assert storage.delete_prefix(report) > 0
    unfinished = LOCATIONS.recommendation_run("shop", "unfinished")
    storage.write(join(unfinished, "summary.json"), b"{}")
    assert storage.delete_prefix(unfinished) == 1


def check_the_record(endpoint: str) -> str:
    """Return the champion's directory, and see that its decision says what the run has cost."""
    current = registry.read_champion(LOCATIONS, "shop")
    assert current is not None
    key = f"shop/decisions/{SNAPSHOT}/{current[0].run_key}.json"
    body = client("s3", endpoint).get_object(Bucket="recsys-models", Key=key)["Body"]
    cost = json.loads(body.read())["cost"]
    assert [stage["stage"] for stage in cost["stages"]] == ["preprocess", "train"]
    assert all(stage["simulated"] and stage["instance_hours"] > 0 for stage in cost["stages"])
    assert cost["usd"] > 0
    return current[0].uri


def dags_by_cluster(endpoint: str) -> dict[str, str]:
    emr = client("emr", endpoint)
    found = {}
    for summary in emr.list_clusters()["Clusters"]:
        tags = emr.describe_cluster(ClusterId=summary["Id"])["Cluster"]["Tags"]
        found[summary["Id"]] = {tag["Key"]: tag["Value"] for tag in tags}["recsys:dag"]
    return found


def fill(folder: Path, endpoint: str) -> None:
    shop.write_snapshots(folder / "lake")
    s3 = client("s3", endpoint)
    for file in storage.list_files(str(folder / "lake")):
        s3.upload_file(file.uri, "recsys-lake", file.uri.removeprefix(f"{folder / 'lake'}/"))


def test_the_calls_of_a_whole_run_are_the_recorded_ones(
    tmp_path: Path, root: Path, pytestconfig: pytest.Config
) -> None:
    record = tmp_path / "record.jsonl"
    shop.write_settings(tmp_path / "config", shop.settings("shop"))
    environments = root / "include" / "config" / "environments"
    (tmp_path / "config" / "environments").symlink_to(environments)
    path = os.pathsep.join([str(RECORDER), str(root / "include")])
    recording = {"PYTHONPATH": path, "RECSYS_RECORD": str(record)}
    with testing.running(tmp_path / "aws", BUCKETS, env=recording) as server:
        endpoint = server.endpoint_url
        fill(tmp_path, endpoint)
        log = run_dag(tmp_path, endpoint, "retrain_shop", snapshot=SNAPSHOT)
        assert "what the run has cost" in log
        run_dag(tmp_path, endpoint, "recommend_shop")
        with acting_as("airflow", endpoint):
            champion = check_the_record(endpoint)
            read_a_log_and_end_a_cluster(endpoint)
            move_the_champion_and_prune(champion)
            drop_the_oldest_lists()
        with acting_as("localaws", endpoint):
            load_the_champion_and_clear_an_output(champion)
        dags = dags_by_cluster(endpoint)
    found = calls.calls(record.read_text().splitlines(), dags)
    if pytestconfig.getoption("--rebuild-golden"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert not calls.difference(found, golden), calls.difference(found, golden)


def test_a_changed_record_names_the_calls_and_what_to_do() -> None:
    golden = json.loads(GOLDEN.read_text())
    new = {"principal": "airflow", "action": "s3:PutObject", "resource": "arn:aws:s3:::{models}/x"}
    told = calls.difference([*golden[1:], new], golden)
    assert f"new:  {json.dumps(new)}" in told
    assert f"gone: {json.dumps(golden[0])}" in told
    assert "--rebuild-golden" in told
    assert calls.difference(golden, golden) == ""

"""One embedded AWS with the shop's snapshots, for all tests of whole runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow_stack
import boto3
import pytest
import shop
import yaml
from airflow_stack import Stack
from cloud import LOCATIONS, Cloud, Result

from demo import airflow
from demo.paths import BUCKETS
from localaws import testing
from recommender import storage
from recommender.locations import join

# One machine's memory is all taken by the system, so that nothing fits it.
FULL = {
    "primary": {"instance_types": {"m5.xlarge": 1}, "on_demand": 1},
    "minutes": 60,
    "driver_memory": "13g",
}
SPARK = {
    "engine": "auto",
    "search": {"trials": 2, "factors": [16], "max_iterations": 5},
    "contenders": ["popularity", "popularity_recent", "popularity_decayed"],
    "distributed": {
        "factors": 16,
        "alpha": 10,
        "regularization": 0.1,
        "frequency_exponent": 1,
        "iterations": 5,
    },
}
BAD = {"als": {"factors": 1, "alpha": 1, "regularization": 100, "iterations": 1}, "search": None}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    config = folder / "config"
    shop.write_settings(
        config,
        shop.settings("shop"),
        shop.settings("shop_bad", train=BAD),
        shop.settings("shop_dirty", dataset="dirty"),
        shop.settings("shop_backwards"),
        shop.settings("shop_spark", train=SPARK, clusters={"train": "full"}),
        shop.settings("shop_parallel"),
        # Its own, so that nothing it trains on is a champion's data already: that would be skipped.
        shop.settings("shop_survivor"),
        shop.settings("shop_asked", gate=shop.GATE | {"approval": True}),
        shop.settings("shop_shadow", gate=shop.GATE | {"mode": "shadow"}),
    )
    (config / "environments").mkdir()
    local = yaml.safe_load((root / "include/config/environments/local.yaml").read_text())
    local["emr"]["shapes"]["full"] = FULL
    (config / "environments" / "local.yaml").write_text(yaml.safe_dump(local))
    with testing.running(folder / "aws", BUCKETS) as server:
        aws = testing.environment(server.endpoint_url)
        before = {key: os.environ.get(key) for key in aws}
        os.environ.update(aws)
        storage.s3_client.cache_clear()
        shop.write_snapshots(folder / "lake")
        shop.write_snapshots(folder / "lake", "dirty", bad_share=0.05)
        for file in storage.list_files(str(folder / "lake")):
            name = file.uri.removeprefix(f"{folder / 'lake'}/")
            storage.upload(Path(file.uri), join(LOCATIONS.lake, name))
        yield Cloud(aws, config, boto3.client("emr", region_name="us-east-1"))
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
        storage.s3_client.cache_clear()


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Path:
    home = tmp_path_factory.mktemp("airflow")
    airflow.migrate(airflow.environment(home, cloud.aws, config=cloud.config))
    return home


@pytest.fixture(scope="session")
def stack(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack") / "airflow"
    with airflow_stack.running(home, cloud.aws, cloud.config) as running:
        yield running


@pytest.fixture
def dags_test(cloud: Cloud, airflow_home: Path) -> Any:
    """Return a function that runs a DAG to its end in a real Airflow."""

    def run(dag_id: str, **conf: object) -> Result:
        env = airflow.environment(airflow_home, cloud.aws, config=cloud.config)
        command = [str(airflow.AIRFLOW), "dags", "test", dag_id, "--conf", json.dumps(conf)]
        done = subprocess.run(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        run_id = re.search(r"\brun_id=(\S+)", done.stdout)
        assert run_id, done.stdout[-3000:]
        return Result(done.returncode == 0, run_id.group(1), done.stdout)

    return run

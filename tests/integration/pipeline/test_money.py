"""A run that only plans, and one that its budget stops: both before anything is created."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import shop
from cloud import LOCATIONS, Cloud

from demo import airflow
from recommender import storage
from recommender.locations import join

pytestmark = [pytest.mark.airflow, pytest.mark.localaws]


@pytest.fixture
def config(tmp_path: Path, root: Path) -> Path:
    folder = tmp_path / "config"
    shop.write_settings(
        folder, shop.settings("shop_planned"), shop.settings("shop_poor", budget_usd=0.001)
    )
    (folder / "environments").symlink_to(root / "include" / "config" / "environments")
    return folder


def run(
    dag_id: str, cloud: Cloud, home: Path, config: Path, **conf: object
) -> subprocess.CompletedProcess[str]:
    env = airflow.environment(home, cloud.aws, config=config)
    command = [str(airflow.AIRFLOW), "dags", "test", dag_id, "--conf", json.dumps(conf)]
    return subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def traces(cloud: Cloud, name: str) -> tuple[list[str], list[str]]:
    """Return the clusters and the objects that a recommender's runs have left."""
    clusters = [
        summary["Id"]
        for page in cloud.emr.get_paginator("list_clusters").paginate()
        for summary in page["Clusters"]
        if summary["Name"].startswith(f"retrain_{name}/")
    ]
    roots = (join(LOCATIONS.work, "runs", name), join(LOCATIONS.models, name))
    return clusters, [file.uri for root in roots for file in storage.list_files(root)]


def test_a_run_that_only_plans_is_green_and_creates_nothing(
    cloud: Cloud, airflow_home: Path, config: Path
) -> None:
    code = storage.list_children(join(LOCATIONS.work, "code"))
    done = run("retrain_shop_planned", cloud, airflow_home, config, plan_only=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "RunJobFlow of stage preprocess" in done.stdout
    assert "IAM policy airflow" in done.stdout
    assert "expected cost" in done.stdout
    assert traces(cloud, "shop_planned") == ([], [])
    assert storage.list_children(join(LOCATIONS.work, "code")) == code


def test_a_run_beyond_its_budget_fails_before_its_first_cluster(
    cloud: Cloud, airflow_home: Path, config: Path
) -> None:
    done = run("retrain_shop_poor", cloud, airflow_home, config)
    assert done.returncode != 0
    assert "expected a run within budget_usd 0.001, found 0.0000 USD spent" in done.stdout
    assert traces(cloud, "shop_poor") == ([], [])

"""An Airflow and an embedded AWS on which faults are played, several runs beside each other.

Each lane is a recommender of its own, so that faults can be aimed at one run. Steps copy what the jobs
made once, at the start: a run's clusters, processes and logs are real, the minutes of Spark are saved.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import airflow_stack
import boto3
import shop
import yaml
from airflow_stack import Stack
from cloud import LOCATIONS, Cloud

from demo.paths import BUCKETS
from localaws import testing
from recommender import storage
from recommender.locations import join

SNAPSHOT = shop.SNAPSHOTS[-1].isoformat()
ORDINARY = ("a", "b", "c", "d")
# Its stages may last for three quarters of a minute only.
IMPATIENT = "impatient"
# One attempt of each stage is within its budget (0.0189 USD by list prices), a second is not.
POOR = "poor"
LANES = (*ORDINARY, IMPATIENT, POOR)
REPLAYER = Path(__file__).parent / "replayer"


@dataclass(frozen=True)
class Theatre:
    """Hold both, and what the lanes are called."""

    cloud: Cloud
    stack: Stack
    endpoint: str

    @staticmethod
    def dag(lane: str) -> str:
        return f"retrain_lane_{lane}"

    def ready(self, lane: str) -> None:
        """Forget the champion of the lane's last run: every run is a first one."""
        storage.delete_prefix(join(LOCATIONS.models, f"lane_{lane}"))


@contextmanager
def opened(folder: Path, root: Path) -> Iterator[Theatre]:
    config, made = folder / "config", folder / "made"
    write_config(config, root)
    shop.write_snapshots(folder / "lake")
    with ExitStack() as exits:
        jobs = exits.enter_context(making(folder, config, made))
        path = os.pathsep.join([str(REPLAYER), str(root / "include")])
        replaying = {"PYTHONPATH": path, "RECSYS_REPLAY": str(made)}
        server = exits.enter_context(testing.running(folder / "aws", BUCKETS, env=replaying))
        aws = testing.environment(server.endpoint_url)
        exits.enter_context(acting_in(aws))
        fill_lake(folder / "lake")
        home = folder / "airflow"
        stack = exits.enter_context(airflow_stack.running(home, aws, config, parallelism=10))
        emr = boto3.client("emr", region_name="us-east-1", endpoint_url=server.endpoint_url)
        theatre = Theatre(Cloud(aws, config, emr), stack, server.endpoint_url)
        for lane in LANES:
            stack.unpause(theatre.dag(lane))
        assert jobs.wait(300) == 0, (folder / "jobs.log").read_text()[-3000:]
        yield theatre


def write_config(config: Path, root: Path) -> None:
    """Write a recommender for every lane, and the shipped local environment with one more shape."""
    als = {"factors": 16, "alpha": 10, "regularization": 5, "iterations": 5}
    train = {"als": als, "search": None}
    lanes: dict[str, dict[str, Any]] = {lane: {} for lane in LANES}
    lanes[IMPATIENT] = {"clusters": {"preprocess": "impatient", "train": "impatient"}}
    lanes[POOR] = {"budget_usd": 0.021}
    shop.write_settings(
        config,
        *(
            shop.settings(
                f"lane_{lane}", dataset=f"lane_{lane}", schedule=None, train=train, **more
            )
            for lane, more in lanes.items()
        ),
    )
    shipped = root / "include" / "config" / "environments" / "local.yaml"
    environment = yaml.safe_load(shipped.read_text())
    shapes = environment["emr"]["shapes"]
    shapes["impatient"] = {**shapes["preprocessing"], "minutes": 0.75, "expected_minutes": 0.5}
    (config / "environments").mkdir()
    (config / "environments" / "local.yaml").write_text(yaml.safe_dump(environment))


@contextmanager
def making(folder: Path, config: Path, made: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let the jobs really run once, beside all else that starts."""
    dataset, candidate, report = (made / job for job in ("preprocess", "train", "evaluate"))
    snapshot = folder / "lake" / "snapshots" / "shop" / SNAPSHOT
    job = f"{sys.executable} -m recommender.jobs"
    settings = f"--config {config / 'recommenders' / 'lane_a.yaml'}"
    preprocess = f"{job} preprocess {settings} --snapshot {snapshot} --output {dataset}"
    parts = [
        f"{preprocess} --quarantine {folder / 'quarantine'}",
        f"{job} train {settings} --dataset {dataset} --output {candidate}",
        f"{job} evaluate {settings} --dataset {dataset} --candidate {candidate} --output {report}",
    ]
    with (folder / "jobs.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", " && ".join(parts)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(REPLAYER.parents[3] / "include")},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # the shell and the job below it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def acting_in(aws: dict[str, str]) -> Iterator[None]:
    """Let the product's own storage talk to this AWS."""
    before = {key: os.environ.get(key) for key in aws}
    os.environ.update(aws)
    storage.s3_client.cache_clear()
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        storage.s3_client.cache_clear()


def fill_lake(folder: Path) -> None:
    """Give every lane the snapshot under a name of its own."""
    (file,) = (folder / "snapshots" / "shop" / SNAPSHOT).iterdir()
    for lane in LANES:
        storage.upload(file, join(LOCATIONS.lake, f"snapshots/lane_{lane}", SNAPSHOT, file.name))

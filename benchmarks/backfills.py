"""Backfill six monthly snapshots through the real DAG in three orders, two runs at a time.

    make setup-dev
    .venv/bin/python benchmarks/backfills.py [--plot quality.svg]

A real Airflow and the embedded AWS on loopback, a made-up shop, a recommender for each order. In the end
all three must have the same state: a version of each snapshot with byte-equal models, no refusal, the
newest snapshot's as champion, a history that is a chain. Search and warm start are off: they begin at
the champion of the moment, so that models would differ by order. Takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(ROOT / room) for room in ("include", "tests/support", "tests/integration/pipeline")
]

import airflow_stack  # noqa: E402
import boto3  # noqa: E402
import shop  # noqa: E402
from airflow_stack import Stack, await_that  # noqa: E402
from cloud import LOCATIONS  # noqa: E402

from demo.paths import BUCKETS  # noqa: E402
from localaws import testing  # noqa: E402
from recommender import registry, storage  # noqa: E402
from recommender.locations import join  # noqa: E402
from recommender.registry import catalogue, pointer  # noqa: E402

MONTHS = [dt.date(2023, 12, 31), dt.date(2024, 1, 31), dt.date(2024, 2, 29)]
MONTHS += [dt.date(2024, 3, 31), dt.date(2024, 4, 30), dt.date(2024, 5, 31)]
SHUFFLED = [MONTHS[n] for n in (3, 0, 5, 1, 4, 2)]
ORDERS = ("oldest_first", "newest_first", "shuffled")
SECONDS = 1800.0


def main() -> int:
    """Run all orders, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, default=None, help="draw quality over snapshots")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recsys-backfills-") as name:
        folder = Path(name)
        config = prepare(folder)
        with testing.running(folder / "aws", BUCKETS) as server:
            aws = testing.environment(server.endpoint_url)
            os.environ.update(aws)
            upload(folder / "lake")
            with airflow_stack.running(folder / "airflow", aws, config) as stack:
                states = [run(stack, order) for order in ORDERS]
            draw(config, f"shop_{ORDERS[0]}", asked.plot)
    same = all(state == states[0] for state in states)
    print("the three orders end in the same state" if same else "THE STATES DIFFER")
    return 0 if same else 1


def draw(config: Path, name: str, plot: Path | None) -> None:
    """Print quality over snapshots as ``recsys history`` does."""
    command = [sys.executable, "-m", "recommender.cli", "--recommender", name, "history"]
    command += ["--plot", str(plot)] if plot else []
    env = {"PYTHONPATH": str(ROOT / "include"), "RECSYS_CONFIG_DIR": str(config)}
    subprocess.run(command, check=True, env={**os.environ, **env})


def prepare(folder: Path) -> Path:
    """Write the snapshots and a recommender for each order; return the configuration's folder."""
    shop.SNAPSHOTS, shop.EVENTS = MONTHS, 24_000
    shop.write_snapshots(folder / "lake")
    als = {"factors": 16, "alpha": 10, "regularization": 5, "iterations": 5}
    train = {"als": als, "search": None, "warm_iterations": 0}
    config = folder / "config"
    shop.write_settings(config, *(shop.settings(f"shop_{order}", train=train) for order in ORDERS))
    (config / "environments").symlink_to(ROOT / "include" / "config" / "environments")
    return config


def upload(lake: Path) -> None:
    """Put the snapshots where the DAG looks for them."""
    for file in storage.list_files(str(lake)):
        storage.upload(Path(file.uri), join(LOCATIONS.lake, file.uri.removeprefix(f"{lake}/")))


def run(stack: Stack, order: str) -> dict[str, Any]:
    """Run one order to its end; print what came of it, and return the state."""
    dag_id, began = f"retrain_shop_{order}", time.monotonic()
    stack.unpause(dag_id)
    if order == "shuffled":
        ids = {stack.trigger(dag_id, {"snapshot": date.isoformat()}) for date in SHUFFLED}
    else:
        backwards = ["--run-backwards"] if order == "newest_first" else []
        stack.command(
            *("backfill", "create", "--dag-id", dag_id, "--max-active-runs", "2", *backwards),
            *("--from-date", MONTHS[0].isoformat(), "--to-date", "2024-06-01"),
        )
        ids = set()

    def ended() -> bool:
        runs = [
            r for r in stack.runs(dag_id) if r["dag_run_id"] in ids or r["run_type"] == "backfill"
        ]
        states = Counter(one["state"] for one in runs)
        if states["failed"]:
            message = f"{order}: a run failed; see {stack.home}"
            raise AssertionError(message)
        return states["success"] == len(MONTHS)

    await_that(ended, SECONDS, f"six runs of {order}")
    found, told = state(f"shop_{order}")
    print(
        f"{order:<13} {time.monotonic() - began:4.0f} s  {told}, {again(dag_id)} measured again",
        flush=True,
    )
    return found


def state(name: str) -> tuple[dict[str, Any], str]:
    """Return what is published, and the verdicts in short; every file is verified on the way."""
    champion = registry.load_champion(LOCATIONS, name)
    records = pointer.history(LOCATIONS, name)
    versions = {
        version.name[:10]: registry.load_version(LOCATIONS, name, version.name).files
        for version in catalogue.versions(LOCATIONS, name)
    }
    verdicts = Counter(decision.verdict for decision in catalogue.decisions(LOCATIONS, name))
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    found = {
        "champion": champion[0].snapshot.isoformat() if champion else None,
        "models": {
            date: {n: f.sha256 for n, f in files.items() if not n.endswith(".json")}
            for date, files in versions.items()
        },
        "refused": verdicts["refused"],
    }
    return (
        found,
        f"champion {found['champion']}, {len(versions)} versions, {told}, {len(records)} records",
    )


def again(dag_id: str) -> int:
    """Count the clusters that measured again."""
    emr = boto3.client("emr")
    pages = emr.get_paginator("list_clusters").paginate()
    names = [cluster["Name"] for page in pages for cluster in page["Clusters"]]
    return sum(name.startswith(f"{dag_id}/measure_for_") for name in names)


if __name__ == "__main__":
    sys.exit(main())

"""The jobs give on S3 what they give on a disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recommender import storage
from recommender.jobs import evaluate, train

Build = Callable[..., str]


def test_s3_and_disk_give_the_same_report_to_the_last_digit(
    build: Build, config: str, s3: str, tmp_path: Path
) -> None:
    dataset = build()
    for path in (p for p in Path(dataset).rglob("*") if p.is_file()):
        storage.upload(path, f"{s3}/run/dataset/{path.relative_to(dataset)}")
    on_disk = run_both(dataset, str(tmp_path / "run"), config)
    on_s3 = run_both(f"{s3}/run/dataset", f"{s3}/run", config)
    assert on_s3.pop("lineage")["dataset"]["uri"] == f"{s3}/run/dataset"
    del on_disk["lineage"]
    for report in (on_s3, on_disk):  # the one thing that is not repeatable
        assert all(model.pop("seconds_fit") >= 0 for model in report["models"].values())
    assert json.dumps(on_s3) == json.dumps(on_disk)


def test_what_an_earlier_attempt_left_is_gone(build: Build, config: str, s3: str) -> None:
    storage.write(f"{s3}/run/candidate/als/stale.npy", b"of a cancelled attempt")
    run_both(build(), f"{s3}/run", config)
    assert not storage.exists(f"{s3}/run/candidate/als/stale.npy")


def run_both(dataset: str, root: str, config: str) -> dict[str, Any]:
    common = ["--config", config, "--dataset", dataset]
    assert train.main([*common, "--output", f"{root}/candidate"]) == 0
    candidate = ["--candidate", f"{root}/candidate", "--output", f"{root}/report"]
    assert evaluate.main([*common, *candidate]) == 0
    report: dict[str, Any] = storage.read_json(f"{root}/report/report.json")
    return report

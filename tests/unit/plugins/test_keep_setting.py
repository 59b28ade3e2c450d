"""After training, a wide search's setting is kept for the runs that follow."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from recommender import config, storage
from recommender.training import kept_setting
from recommender.training.kept_setting import Question
from recsys_emr import pipeline, stages

KEEP = kept_setting.document(Question({}, 20, 5), {"alpha": 3.0}, 0.1, {"seed": 42})


def run_after(tmp_path: Path, record: dict[str, Any] | None) -> dict[str, str]:
    run = {"candidate": str(tmp_path / "candidate"), "setting": str(tmp_path / "settings.json")}
    storage.write_json(f"{run['candidate']}/search.json", record)
    return run


def test_a_wide_searchs_setting_is_kept(tmp_path: Path) -> None:
    run = run_after(tmp_path, {"mode": "wide", "why": "asked for", "keep": KEEP})
    pipeline.keep_setting(run)
    assert kept_setting.read(run["setting"]) == KEEP
    pipeline.keep_setting(run)  # a retried task
    assert kept_setting.read(run["setting"]) == KEEP


@pytest.mark.parametrize("record", [None, {"mode": "local", "why": "the kept setting serves"}])
def test_nothing_else_is(record: dict[str, Any] | None, tmp_path: Path) -> None:
    run = run_after(tmp_path, record)
    pipeline.keep_setting(run)
    assert kept_setting.read(run["setting"]) is None


@pytest.mark.parametrize("wide", [True, False])
def test_the_training_step_is_told_where_things_are(wide: bool) -> None:
    names = ("snapshot", "dataset", "candidate", "report", "verification", "study", "setting")
    run = {name: f"s3://bucket/{name}" for name in names}
    params = {"k": 20, "search_trials": 12, "wide_search": wide}
    jobs = stages.train(run, params, "s3://bucket/champion", "implicit", "because it fits")
    fit = jobs["steps"][0]["arguments"]
    pairs = dict(itertools.pairwise(fit))
    assert pairs["--study"] == "s3://bucket/study"
    assert pairs["--kept-setting"] == "s3://bucket/setting"
    assert pairs["--champion"] == "s3://bucket/champion"
    assert pairs["--engine-why"] == "because it fits"
    assert "train.engine=implicit" in fit
    assert ("--wide" in fit) is wide


def test_spark_is_asked_for_no_search_whatever_the_params_say(tmp_path: Path) -> None:
    names = ("snapshot", "dataset", "candidate", "report", "verification", "study", "setting")
    run = {name: f"s3://bucket/{name}" for name in names}
    params = {"k": 20, "search_trials": 12, "wide_search": False}
    fit = stages.train(run, params, None, "spark", "it outgrows one machine")["steps"][0][
        "arguments"
    ]
    given = [value for key, value in itertools.pairwise(fit) if key == "--set"]
    file = tmp_path / "shop.yaml"
    file.write_text("name: shop\ndescription: A shop.\ndataset: shop\n")
    settings = config.load(str(file), given).train
    assert (settings.engine, settings.search) == ("spark", None)

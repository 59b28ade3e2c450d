"""A published version, made again from its manifest: bit-equal, metric-equal or different."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recommender import manifest, storage
from recommender.jobs import evaluate, reproduce, train
from recommender.locations import join

Build = Callable[..., str]


@pytest.fixture
def version(build: Build, config: str, tmp_path: Path) -> str:
    """A candidate with the facts that publishing adds to its manifest."""
    return train_version(build(), config, tmp_path)


def train_version(dataset: str, config: str, tmp_path: Path, *arguments: str) -> str:
    """Train and measure a dataset, and seal the candidate as a version."""
    candidate = str(tmp_path / "version")
    common = ["--config", config, "--dataset", dataset]
    assert train.main([*common, "--output", candidate, *arguments]) == 0
    report = str(tmp_path / "report")
    assert evaluate.main([*common, "--candidate", candidate, "--output", report]) == 0
    measured = storage.read_json(join(report, "report.json"))
    facts = {"metrics": measured["models"], "lineage": measured["lineage"]}
    seal(candidate, facts)
    return candidate


def seal(version: str, facts: dict[str, Any]) -> None:
    """Seal a version again, with other facts or files than it had."""
    about = json.loads((Path(version) / "manifest.json").read_text())["about"]
    (Path(version) / "manifest.json").unlink()
    manifest.seal(version, "version", {**about, **facts})


def run(version: str, tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    output = str(tmp_path / "again")
    code = reproduce.main(["--version", version, "--output", output, *arguments])
    return code, storage.read_json(join(output, "reproduction.json"))


def test_the_same_machine_makes_the_same_bytes(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, record = run(version, tmp_path)
    assert (code, record["answer"]) == (0, "bit-equal"), record
    assert record["files"] == record["metrics"] == record["environment"] == {}
    assert record["compared"] >= 6
    assert "bit-equal: all" in capsys.readouterr().out


def test_a_last_bit_is_no_other_model(version: str, tmp_path: Path) -> None:
    file = Path(version) / "als" / "user_factors.npy"
    factors = np.load(file)
    factors[0, 0] = np.nextafter(factors[0, 0], np.float32(1))
    np.save(file, factors)
    seal(version, {"versions": {"numpy": "1.0"}})
    code, record = run(version, tmp_path)
    assert (code, record["answer"]) == (0, "metric-equal")
    assert list(record["files"]) == ["als/user_factors.npy"]
    assert record["worst"] <= 0.01
    assert record["environment"]["numpy"][0] == "1.0"  # the usual cause is named


def test_another_setting_than_the_recorded_one_is_found_out(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((Path(version) / "manifest.json").read_text())["about"]
    setting = {**about["setting"], "alpha": 0.01, "regularization": 5000.0, "iterations": 1}
    seal(version, {"setting": setting})
    code, record = run(version, tmp_path)
    assert (code, record["answer"]) == (3, "different")
    assert record["worst"] > 0.01
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {version} could not be reproduced: metrics differ by")
    lenient, record = run(version, tmp_path, "--tolerance", "1000")
    assert (lenient, record["answer"]) == (0, "metric-equal")


def test_the_same_model_with_other_metrics_is_different(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((Path(version) / "manifest.json").read_text())["about"]
    about["metrics"]["als"]["recall"] *= 0.5
    seal(version, {"metrics": about["metrics"]})
    code, record = run(version, tmp_path)
    assert (code, record["answer"], record["files"]) == (3, "different", {})
    assert list(record["metrics"]) == ["als.recall"]
    assert "the model is the same and was measured differently" in capsys.readouterr().err


def test_every_metric_of_every_model_is_compared(version: str, tmp_path: Path) -> None:
    about = json.loads((Path(version) / "manifest.json").read_text())["about"]
    scores = about["metrics"]["popularity"]
    numbers = {n for n, v in scores.items() if isinstance(v, float) and n != "seconds_fit"}
    assert {"recall", "novelty", "popularity_bias"} <= numbers
    moved = {n: v + 1 if n in numbers else v for n, v in scores.items()}
    seal(version, {"metrics": {**about["metrics"], "popularity": moved}})
    _, record = run(version, tmp_path)
    assert set(record["metrics"]) == {f"popularity.{name}" for name in numbers}


def test_a_version_without_the_gates_default_baselines_is_made_again(
    build: Build, tmp_path: Path
) -> None:
    config = tmp_path / "few.yaml"
    config.write_text(
        "name: few\ndescription: One contender.\ndataset: few\n"
        "train: {search: null, contenders: [popularity]}\n"
        "gate: {baselines: [popularity]}\nevaluate: {k: 5, bootstrap_samples: 100}\n"
    )
    code, record = run(train_version(build(), str(config), tmp_path), tmp_path)
    assert (code, record["answer"]) == (0, "bit-equal"), record


def test_a_version_that_went_on_from_its_champion_is_made_again(
    version: str, config: str, tmp_path: Path
) -> None:
    about = json.loads((Path(version) / "manifest.json").read_text())["about"]
    alike = ["train.search=null", f"train.als.factors={about['setting']['factors']}"]
    warm = ["--champion", version, *(text for value in alike for text in ("--set", value))]
    again = train_version(about["dataset"]["uri"], config, tmp_path / "second", *warm)
    about = json.loads((Path(again) / "manifest.json").read_text())["about"]
    assert about["training"]["warm_start"]["champion"] == version
    code, record = run(again, tmp_path)
    assert (code, record["answer"]) == (0, "bit-equal"), record


@pytest.mark.parametrize(
    "path",
    [
        "settings",
        "setting",
        "setting.iterations",
        "threads",
        "recommender",
        "lineage.settings",
        "dataset.uri",
        "metrics",
        "training.warm_start.champion",
    ],
)
def test_a_version_that_does_not_say_how_it_was_made_is_refused(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    about = json.loads((Path(version) / "manifest.json").read_text())["about"]
    about["training"]["warm_start"] = {"champion": "s3://models/v"}
    *sections, name = path.split(".")
    inner = about
    for section in sections:
        inner = inner[section]
    inner[name] = None
    seal(version, about)
    assert reproduce.main(["--version", version, "--output", str(tmp_path / "again")]) == 3
    error = capsys.readouterr().err
    assert f"error: expected {path} in the version's manifest.json" in error
    assert "train its snapshot anew" in error
    assert not (tmp_path / "again" / "candidate").exists()  # known before the fits


def test_a_failed_reproduction_leaves_no_older_answer(version: str, tmp_path: Path) -> None:
    output = tmp_path / "again"
    run(version, tmp_path)
    assert {path.name for path in output.iterdir()} == {"candidate", "report", "reproduction.json"}
    seal(version, {"settings": None})
    assert reproduce.main(["--version", version, "--output", str(output)]) == 3
    assert not [path for path in output.rglob("*") if path.is_file()]


def test_a_damaged_version_leaves_no_older_answer(version: str, tmp_path: Path) -> None:
    run(version, tmp_path)
    (Path(version) / "als" / "user_factors.npy").unlink()
    assert reproduce.main(["--version", version, "--output", str(tmp_path / "again")]) == 3
    assert not (tmp_path / "again" / "reproduction.json").exists()


def test_what_the_job_never_writes_is_not_deleted(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thesis = tmp_path / "again" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    assert reproduce.main(["--version", version, "--output", str(tmp_path / "again")]) == 3
    assert "files that this job never writes: thesis.txt" in capsys.readouterr().err
    assert thesis.read_text() == "mine"


def test_a_dataset_that_is_gone_is_named(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--version", version, "--output", str(tmp_path / "again")]
    assert reproduce.main([*arguments, "--dataset", str(tmp_path / "gone")]) == 3
    err = capsys.readouterr().err
    assert "expected a finished dataset at" in err
    assert "training again failed with exit code 3" in err


def test_the_command_line_says_the_same(
    version: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from recommender.cli.__main__ import main
    from recommender.registry import catalogue

    found = SimpleNamespace(uri=version)
    monkeypatch.setattr(catalogue, "known_version", lambda *asked: found)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # nothing is asked there
    output = str(tmp_path / "again")
    command = ["reproduce", "2017-12-31-0a1b2c3d", "--output", output, "--json"]
    assert main([*command, "--environment", "local", "--recommender", "shop"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "bit-equal"


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-0.1", "much"])
def test_a_tolerance_that_nothing_can_be_held_against_is_refused(
    tolerance: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--version", str(tmp_path), "--output", str(tmp_path / "again")]
    with pytest.raises(SystemExit):
        reproduce.main([*arguments, f"--tolerance={tolerance}"])
    assert "argument --tolerance" in capsys.readouterr().err

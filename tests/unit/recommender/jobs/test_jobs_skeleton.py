"""The skeleton of every job: exit codes, last words, and what is refused before any work."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recommender.config import Recommender
from recommender.errors import BadDataError
from recommender.jobs import __main__ as entry
from recommender.jobs import cli


@pytest.fixture(autouse=True)
def _restore_log_handlers() -> Iterator[None]:
    product = logging.getLogger("recommender")
    handlers, level = product.handlers[:], product.level
    yield
    product.handlers[:] = handlers
    product.setLevel(level)


@pytest.fixture
def config_uri(tmp_path: Path) -> str:
    path = tmp_path / "shop.yaml"
    path.write_text("name: shop\ndescription: d\ndataset: shop\n")
    return str(path)


def _last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def _run(job: cli.Job, *argv: str) -> int:
    return cli.run(job, cli.arg_parser("job", "A job."), argv)


def test_job_gets_the_configuration_with_overrides_applied(config_uri: str) -> None:
    seen: list[Recommender] = []
    code = _run(
        lambda _, recommender: seen.append(recommender),
        "--config", config_uri, "--set", "evaluate.k=7", "--set", "preprocess.format=events",
    )  # fmt: skip
    assert code == 0
    assert (seen[0].evaluate.k, seen[0].preprocess.format) == (7, "events")


def test_misspelt_key_is_named_with_its_remedy_and_the_job_never_starts(
    config_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = _run(
        lambda *_: pytest.fail("the job ran"),
        "--config", config_uri, "--set", "preprocess.holdout_day=3",
    )  # fmt: skip
    assert code == 3
    last = _last_line(capsys)
    assert last.startswith("error: ")
    assert "preprocess.holdout_day: unknown key; did you mean 'holdout_days'?" in last


def test_named_error_is_one_last_line_and_exit_code_3(
    config_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def job(_: argparse.Namespace, __: Recommender) -> None:
        message = "expected this,\n  found that"
        raise BadDataError(message)

    assert _run(job, "--config", config_uri) == 3
    assert _last_line(capsys) == "error: expected this, found that"


def test_unexpected_error_keeps_its_traceback_and_is_exit_code_1(
    config_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def job(_: argparse.Namespace, __: Recommender) -> None:
        message = "boom"
        raise KeyError(message)

    assert _run(job, "--config", config_uri) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.strip().splitlines()[-1].startswith("error: unexpected KeyError: 'boom'")


def test_missing_configuration_argument_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        _run(lambda *_: pytest.fail("the job ran"))
    assert stop.value.code == 2


def test_log_lines_carry_utc_times(config_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    _run(lambda *_: logging.getLogger("recommender.x").info("counted"), "--config", config_uri)
    assert _last_line(capsys).endswith("Z INFO recommender.x: counted")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3a://bucket/prefix/", "s3://bucket/prefix"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("file:///var/data/", "/var/data"),
        ("./data//raw/", "data/raw"),
    ],
)
def test_location_has_one_spelling(text: str, expected: str) -> None:
    assert cli.location(text) == expected


@pytest.mark.parametrize("text", ["", "  ", "https://host/x", "gs://bucket/x"])
def test_location_refuses_what_storage_cannot_read(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected s3://bucket/prefix"):
        cli.location(text)


def test_entry_point_names_the_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["retrain"]) == 2
    last = _last_line(capsys)
    assert last.startswith("error: expected one of preprocess, train, evaluate")
    assert "found 'retrain'" in last


def test_entry_point_hands_the_rest_to_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        entry.main(["preprocess", "--help"])
    assert stop.value.code == 0
    assert "--quarantine URI" in capsys.readouterr().out


_CANCELLED = """
import os, signal, sys, tempfile, types
from recommender.jobs import __main__ as entry

job = types.ModuleType("recommender.jobs.verify")

def main(_):
    with tempfile.TemporaryDirectory() as folder:
        print(folder, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

job.main = main
sys.modules[job.__name__] = job
entry.main(["verify"])
"""


def test_a_cancelled_step_removes_its_temporary_files() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CANCELLED], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 143
    assert done.stdout.strip()
    assert not Path(done.stdout.strip()).exists()

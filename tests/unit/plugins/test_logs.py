"""Logs come late, torn or never; what is said of them is always a sentence."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from recsys_emr import logs


class Clock:
    """Count the seconds that are slept instead of sleeping them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.arrival: tuple[float, Path, bytes] | None = None

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        if self.arrival and self.now >= self.arrival[0]:
            self.arrival[1].write_bytes(self.arrival[2])


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(100)]
    file = tmp_path / "stdout.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    (log,) = logs.fetch([str(file)])
    assert log.text.splitlines() == lines
    assert log.tail.splitlines() == lines[-logs.LINES :]


def test_a_log_that_comes_late_is_awaited(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "stderr.gz"
    clock.arrival = (300.0, file, gzip.compress(b"error: out of luck"))
    (log,) = logs.fetch([str(file)], clock=clock, pause=clock.pause)
    assert log.tail == "error: out of luck"
    assert 300 <= clock.now < 320


def test_several_missing_logs_share_one_patience(tmp_path: Path) -> None:
    clock = Clock()
    files = [str(tmp_path / f"{n}.gz") for n in range(4)]
    found = logs.fetch(files, clock=clock, pause=clock.pause)
    assert clock.now == logs.PATIENCE_SECONDS
    for file, log in zip(files, found, strict=True):
        assert log.text == ""
        assert file in log.tail
        assert "360 s" in log.tail


def test_without_patience_nobody_waits(tmp_path: Path) -> None:
    clock = Clock()
    (log,) = logs.fetch([str(tmp_path / "no.gz")], patience=0, clock=clock, pause=clock.pause)
    assert clock.now == 0
    assert "no log at" in log.tail


@pytest.mark.parametrize("content", [gzip.compress(b"a" * 1000, mtime=0)[:20], b"not gzip at all"])
def test_a_torn_log_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "stderr.gz"
    file.write_bytes(content)
    (log,) = logs.fetch([str(file)])
    assert "cannot be read" in log.tail


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    file = tmp_path / "stderr.gz"
    file.write_bytes(gzip.compress(b""))
    assert "is empty" in logs.fetch([str(file)])[0].tail


def test_a_step_log_is_where_emr_puts_it() -> None:
    uri = logs.step_log("s3://work/emr-logs/", "j-1", "s-2", "stderr")
    assert uri == "s3://work/emr-logs/j-1/steps/s-2/stderr.gz"


def test_bootstrap_logs_are_found_on_every_node(tmp_path: Path) -> None:
    names = (
        "i-1/bootstrap-actions/1/stderr.gz",
        "i-2/bootstrap-actions/1/stdout.gz",
        "i-2/provision-node/apps-phase/0/u-1/stderr.gz",
    )
    others = ("i-1/bootstrap-actions/1/controller.gz", "i-1/applications/spark/stderr.gz")
    for name in (*names, *others):
        file = tmp_path / "j-1" / "node" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    found = logs.bootstrap_logs(str(tmp_path), "j-1")
    assert found == [str(tmp_path / "j-1" / "node" / name) for name in names]

"""Logs come late, torn or never; what is said of them is always a sentence."""

from __future__ import annotations

import gzip
from pathlib import Path

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


def test_tail_keeps_the_last_lines(tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(100)]
    log = tmp_path / "stdout.gz"
    log.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert logs.tail(str(log)).splitlines() == lines[-logs.LINES :]


def test_tail_waits_for_a_log_that_comes_late(tmp_path: Path) -> None:
    clock, log = Clock(), tmp_path / "stderr.gz"
    clock.arrival = (300.0, log, gzip.compress(b"error: out of luck"))
    assert logs.tail(str(log), clock=clock, pause=clock.pause) == "error: out of luck"
    assert 300 <= clock.now < 320


def test_tail_gives_up_with_the_place_where_the_log_will_be(tmp_path: Path) -> None:
    clock, log = Clock(), tmp_path / "stderr.gz"
    text = logs.tail(str(log), clock=clock, pause=clock.pause)
    assert str(log) in text
    assert "360 s" in text
    assert clock.now == logs.PATIENCE_SECONDS


def test_tail_of_a_torn_log_is_a_sentence(tmp_path: Path) -> None:
    log = tmp_path / "stderr.gz"
    log.write_bytes(gzip.compress(b"a" * 1000)[:20])
    assert "cannot be read" in logs.tail(str(log))


def test_a_step_log_is_where_emr_puts_it() -> None:
    uri = logs.step_log("s3://work/emr-logs/", "j-1", "s-2", "stderr")
    assert uri == "s3://work/emr-logs/j-1/steps/s-2/stderr.gz"

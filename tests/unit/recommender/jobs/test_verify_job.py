"""A candidate is loaded and asked again before it can be published."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recommender import manifest, storage
from recommender.config import Serve
from recommender.jobs import evaluate, train, verify
from recommender.serving import RankedList, load_model, verification

Build = Callable[..., str]
Run = Callable[..., int]


@pytest.fixture
def measured(run: Run, build: Build, tmp_path: Path) -> dict[str, str]:
    """Return the directories of a candidate and its report."""
    dataset, candidate = build(), str(tmp_path / "candidate")
    report = str(tmp_path / "report")
    assert run(train, dataset=dataset, output=candidate) == 0
    assert run(evaluate, dataset=dataset, candidate=candidate, output=report) == 0
    return {"candidate": candidate, "report": report}


def test_a_whole_candidate_serves_what_was_measured(
    run: Run, measured: dict[str, str], tmp_path: Path
) -> None:
    output = str(tmp_path / "verification")
    assert run(verify, **measured, output=output) == 0
    assert manifest.verify(output, "verification").files.keys() == {"verification.json"}
    found = storage.read_json(f"{output}/verification.json")
    assert (found["passed"], found["findings"], found["differing"]) == (True, [], 0)
    assert found["candidate_sha256"] == storage.sha256(f"{measured['candidate']}/manifest.json")
    assert found["users"] == 120  # of 200 asked for: the dataset has no more
    assert 0 < found["p50_ms"] <= found["p99_ms"] < 250
    assert found["load_seconds"] > 0
    assert found["memory_mb"] > 20  # Python alone takes more


def test_limits_that_are_not_met_are_said_in_words_and_fail_nothing(
    run: Run, measured: dict[str, str], tmp_path: Path
) -> None:
    output = str(tmp_path / "verification")
    tight = ["max_p99_ms=0.000001", "max_load_seconds=0.000001", "max_memory_mb=1"]
    extra = [text for one in tight for text in ("--set", f"serve.{one}")]
    assert run(verify, *extra, **measured, output=output) == 0
    found = storage.read_json(f"{output}/verification.json")
    assert not found["passed"]
    assert [sentence.split()[0] for sentence in found["findings"]] == ["The", "Loading", "Serving"]
    assert found["findings"][2].endswith("MB of memory; at most 1.0 are allowed.")


def test_a_damaged_candidate_fails_by_the_name_of_its_file(
    run: Run, measured: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "verification")
    assert run(verify, **measured, output=output) == 0
    factors = f"{measured['candidate']}/als/item_factors.npy"
    data = bytearray(storage.read(factors).data)
    data[-1] ^= 1
    storage.write(factors, bytes(data))
    assert run(verify, **measured, output=output) == 3
    assert "als/item_factors.npy: expected SHA-256" in capsys.readouterr().err.splitlines()[-1]
    assert not storage.list_files(output)  # the earlier verdict is not left to be trusted


def test_a_report_about_another_candidate_is_refused(
    run: Run, build: Build, measured: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    other = str(tmp_path / "other")
    assert run(train, "--set", "train.seed=7", dataset=build("again"), output=other) == 0
    found = {"candidate": other, "report": measured["report"]}
    assert run(verify, **found, output=str(tmp_path / "verification")) == 3
    assert "evaluate this candidate first" in capsys.readouterr().err.splitlines()[-1]


def test_lists_that_were_not_measured_are_counted_and_the_first_named(
    measured: dict[str, str],
) -> None:
    model = load_model(measured["candidate"], "candidate", "candidate")
    probes = storage.read_json(f"{measured['report']}/probes.json")
    for place in (3, 8):
        probes["users"][place]["items"].reverse()
    found = verification.ask(model, probes, 1.0, lambda: 10.0)
    assert (found.differing, found.first) == (2, probes["users"][3]["user"])
    sentence = verification.findings(found, Serve())[0]
    assert sentence.startswith("2 of 120 users get another list")


def test_percentiles_are_those_of_the_clock(measured: dict[str, str]) -> None:
    model = load_model(measured["candidate"], "candidate", "candidate")
    probes = storage.read_json(f"{measured['report']}/probes.json")
    # Of a thousand answers, fifteen take 80 ms and the others 2.
    seconds = [0.08 if number % 66 == 0 else 0.002 for number in range(1000)]
    ticks = itertools.accumulate(itertools.chain.from_iterable((0.0, one) for one in seconds))
    found = verification.ask(model, probes, 1.0, lambda: 10.0, lambda: next(ticks))
    assert (found.p50_ms, found.p99_ms) == (2.0, 80.0)


@pytest.mark.parametrize(
    ("items", "scores", "same"),
    [
        ("abc", (3.0, 2.0, 1.0), True),
        ("abc", (3.000001, 2.0, 1.0), True),  # rounding
        ("bac", (3.0, 2.0, 1.0), False),  # another order
        ("abc", (3.1, 2.0, 1.0), False),  # another score
        ("abd", (3.0, 2.0, 1.0), True),  # the last may tie with one that is not listed
        ("adc", (3.0, 2.0, 1.0), False),
        ("ab", (3.0, 2.0), False),
    ],
)
def test_a_list_is_the_same_up_to_rounding(
    items: str, scores: tuple[float, ...], same: bool
) -> None:
    ranked = RankedList("u", tuple(items), scores, "personal", "v")
    assert verification.is_same(ranked, list("abc"), [3.0, 2.0, 1.0]) is same


def test_items_of_equal_score_may_change_places() -> None:
    ranked = RankedList("u", ("b", "a", "c"), (2.0, 2.0, 1.0), "personal", "v")
    assert verification.is_same(ranked, ["a", "b", "c"], [2.0, 2.0, 1.0])
    popular = RankedList("u", ("a", "b", "c"), (2.0, 2.0, 1.0), "popular", "v")
    assert not verification.is_same(popular, ["a", "b", "c"], [2.0, 2.0, 1.0])

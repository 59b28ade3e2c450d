"""Train and evaluate run on directories, as a cluster's steps do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from small_datasets import draw_rows

from recommender import artifact, manifest, storage
from recommender.config import Contender
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.gate import Policy, read_evidence
from recommender.jobs import evaluate, train
from recommender.models import Als

Build = Callable[..., str]


@pytest.fixture
def trained(run: Callable[..., int], build: Build, tmp_path: Path) -> tuple[str, str]:
    dataset, candidate = build(), str(tmp_path / "candidate")
    assert run(train, dataset=dataset, output=candidate) == 0
    return dataset, candidate


def test_a_candidate_stands_alone(trained: tuple[str, str]) -> None:
    dataset, candidate = trained
    loaded = artifact.load(candidate)
    # The dataset has no metadata, so there is no content model.
    assert set(loaded.models) == {"als", *get_args(Contender)} - {"content"}
    opened = open_dataset(dataset)
    assert loaded.users.equals(opened.users)
    assert loaded.items.equals(opened.items)
    assert loaded.about["fit_until"] == opened.fit_until
    assert loaded.about["dataset"]["sha256"] == opened.sha256
    assert {"numpy", "scipy", "implicit", "python"} <= set(loaded.about["versions"])


def test_the_search_is_recorded_and_its_best_setting_fitted(trained: tuple[str, str]) -> None:
    _, candidate = trained
    record = storage.read_json(f"{candidate}/search.json")
    summary = storage.read_json(f"{candidate}/summary.json")
    assert len(record["trials"]) == summary["trials"] == 4
    assert record["chosen"]["recall"] == max(trial["recall"] for trial in record["trials"])
    model = artifact.load(candidate).models["als"]
    assert isinstance(model, Als)
    assert model.settings.model_dump() == record["chosen"]["setting"] == summary["setting"]
    assert set(record["baselines"]) == {"popularity", "popularity_recent", "popularity_decayed"}


def test_the_test_window_leaves_no_trace_in_the_candidate(
    run: Callable[..., int], build: Build, trained: tuple[str, str], tmp_path: Path
) -> None:
    window = {"user": [0], "item": [0], "confidence": [9.0], "timestamp": [0]}
    types = {"user": "int32", "item": "int32", "confidence": "float32", "timestamp": "int64"}
    other = {name: np.array(values, dtype=types[name]) for name, values in window.items()}
    twin = str(tmp_path / "twin")
    assert run(train, dataset=build("other_test", test=other), output=twin) == 0
    for name in ("als/item_factors.npy", "als/user_factors.npy", "popularity/counts.npy"):
        assert storage.sha256(f"{twin}/{name}") == storage.sha256(f"{trained[1]}/{name}")


def test_the_report_keeps_its_contract(
    run: Callable[..., int], trained: tuple[str, str], tmp_path: Path
) -> None:
    report = measure(run, trained, tmp_path / "report")
    evidence = read_evidence(report, Policy(), 5)
    assert evidence.champion is None
    assert evidence.recall["als"] > 1.5 * evidence.recall["popularity"]
    assert evidence.gains["popularity"].ci_low > 0
    assert report["population"]["cold"] == {"rows": 7}
    assert report["lineage"]["seed"] == 42
    manifest.verify(str(tmp_path / "report"), "report")


def test_the_report_says_how_the_models_were_fitted(
    run: Callable[..., int], trained: tuple[str, str], tmp_path: Path
) -> None:
    report = measure(run, trained, tmp_path / "report")
    assert all(scores["seconds_fit"] >= 0 for scores in report["models"].values())
    search = storage.read_json(f"{trained[1]}/search.json")
    curve = report["training"]["validation_curve"]
    assert max(point["recall"] for point in curve) == search["chosen"]["recall"]
    losses = report["training"]["train_loss"]
    assert len(losses) == search["chosen"]["setting"]["iterations"]
    assert losses[-1] < losses[0]
    assert set(report["cold"]) == {"users", "items"}
    drawn = json.loads((tmp_path / "report" / "samples.json").read_text())
    assert len(drawn) == 10


def test_the_report_agrees_with_a_slow_count(
    run: Callable[..., int], trained: tuple[str, str], tmp_path: Path
) -> None:
    report = measure(run, trained, tmp_path / "report")
    dataset = open_dataset(trained[0])
    fit = dataset.pairs(TRAIN, VALIDATION).toarray() > 0
    held = dataset.pairs(TEST).toarray() > 0
    counts = fit.sum(axis=0)
    recalls = []
    for user in range(len(fit)):
        relevant = held[user] & ~fit[user] & (counts > 0)
        if fit[user].any() and relevant.any():
            ranked = sorted(range(len(counts)), key=lambda item: (-counts[item], item))
            top = [item for item in ranked if not fit[user, item]][:5]
            recalls.append(relevant[top].sum() / relevant.sum())
    assert report["population"]["users"] == len(recalls)
    assert report["models"]["popularity"]["recall"] == pytest.approx(np.mean(recalls), abs=1e-12)


def test_equal_input_gives_an_equal_report(
    run: Callable[..., int], build: Build, trained: tuple[str, str], tmp_path: Path
) -> None:
    first = measure(run, trained, tmp_path / "report")
    again, candidate = build("dataset_again"), str(tmp_path / "elsewhere")
    assert run(train, dataset=again, output=candidate) == 0
    second = measure(run, (again, candidate), tmp_path / "report_again")
    for report in (first, second):
        del report["lineage"]
        for scores in report["models"].values():
            del scores["seconds_fit"]
    assert json.dumps(first) == json.dumps(second)


def test_the_candidate_as_its_own_champion_scores_the_same(
    run: Callable[..., int], trained: tuple[str, str], tmp_path: Path
) -> None:
    report = measure(run, trained, tmp_path / "report", champion=trained[1])
    assert report["models"]["champion"] == report["models"]["als"]
    assert report["lineage"]["champion"]["saw_held_out"] is False
    assert comparison(report, "champion")["difference"] == 0
    assert read_evidence(report, Policy(), 5).champion == "candidate"


def test_a_champion_of_later_data_is_said_to_have_seen_the_test_window(
    run: Callable[..., int], build: Build, trained: tuple[str, str], tmp_path: Path
) -> None:
    later = str(tmp_path / "later")
    assert run(train, dataset=build("later_data", shift_days=1), output=later) == 0
    report = measure(run, trained, tmp_path / "report", champion=later)
    assert report["lineage"]["champion"]["saw_held_out"] is True


def test_a_champion_that_knows_no_item_hits_nothing_and_takes_no_one_down(
    run: Callable[..., int], build: Build, trained: tuple[str, str], tmp_path: Path
) -> None:
    foreign = str(tmp_path / "foreign")
    assert run(train, dataset=build("foreign_items", prefix="x"), output=foreign) == 0
    report = measure(run, trained, tmp_path / "report", champion=foreign)
    assert report["models"]["champion"]["recall"] == 0
    assert comparison(report, "champion")["relative"] is None


def test_facts_of_the_caller_stand_in_the_lineage(
    run: Callable[..., int], trained: tuple[str, str], tmp_path: Path
) -> None:
    report = measure(run, trained, tmp_path / "report", lineage="run_id=nightly=1")
    assert report["lineage"]["run_id"] == "nightly=1"


BAD: dict[str, tuple[dict[str, str], str]] = {
    "output over the dataset": ({"output": "{dataset}"}, "inputs and outputs to lie apart"),
    "output above the candidate": ({"output": "{root}"}, "inputs and outputs to lie apart"),
    "a fact that hides another": ({"lineage": "candidate=mine"}, "keys that are free"),
    "no dataset": ({"dataset": "{root}/nowhere"}, "expected a finished dataset"),
    "no candidate": ({"candidate": "{root}/nowhere"}, "expected a finished candidate"),
}


@pytest.mark.parametrize(("changed", "words"), BAD.values(), ids=BAD)
def test_bad_arguments_end_with_a_sentence(
    changed: dict[str, str],
    words: str,
    run: Callable[..., int],
    trained: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset, candidate = trained
    arguments = {"dataset": dataset, "candidate": candidate, "output": f"{tmp_path}/report"}
    filled = {k: v.format(dataset=dataset, root=tmp_path) for k, v in changed.items()}
    assert run(evaluate, **{**arguments, **filled}) == 3
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert open_dataset(dataset).shape == (120, 80)  # nothing was overwritten


OTHERS: dict[str, dict[str, Any]] = {
    "other items": {"prefix": "x"},
    # The next snapshot: the same users and items, and the test window's rows among the fit rows.
    "rows that are held out here": {"validation": draw_rows("test", 0), "shift_days": 20},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_a_candidate_of_another_dataset_is_refused(
    changes: dict[str, Any],
    run: Callable[..., int],
    build: Build,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    candidate, output = str(tmp_path / "candidate"), f"{tmp_path}/report"
    other = build("other", **changes)
    assert run(train, dataset=other, output=candidate) == 0
    assert run(evaluate, dataset=build(), candidate=candidate, output=output) == 3
    assert f"found one of another dataset ({other})" in capsys.readouterr().err.splitlines()[-1]
    assert not Path(output, "report.json").exists()


@pytest.mark.parametrize("name", ["als/item_factors.npy", "users.parquet"])
def test_a_changed_candidate_is_not_measured(
    name: str,
    run: Callable[..., int],
    trained: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path(trained[1]) / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    output = f"{tmp_path}/report"
    assert run(evaluate, dataset=trained[0], candidate=trained[1], output=output) == 3
    assert name in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("job", "window", "words"),
    [(train, "validation", "preprocess.validation_days"), (evaluate, "test", "holdout_days")],
)
def test_a_window_of_nobody_to_measure_names_the_setting(
    job: Any,
    window: str,
    words: str,
    run: Callable[..., int],
    build: Build,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    types = {"user": "int32", "item": "int32", "confidence": "float32", "timestamp": "int64"}
    nothing = {name: np.array([], dtype=kind) for name, kind in types.items()}
    uris = {"dataset": build("empty", **{window: nothing}), "output": f"{tmp_path}/out"}
    if job is evaluate:
        uris["candidate"] = str(tmp_path / "candidate")
        assert run(train, dataset=uris["dataset"], output=uris["candidate"]) == 0
    assert run(job, **uris) == 3
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_nothing_that_beats_popularity_is_trained_with_a_warning(
    run: Callable[..., int],
    build: Build,
    config: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Everyone draws from the same items, so whatever 32 free factors learn of a user is noise."""
    weak = (
        "name: weak\ndescription: w\ndataset: w\n"
        "train: {als: {factors: 32, alpha: 40, regularization: 0.1, iterations: 8}, threads: 1,"
        " search: {trials: 1, max_iterations: 8}}\nevaluate: {k: 5}\n"
    )
    Path(config).write_text(weak)
    output = str(tmp_path / "weak")
    alike = {name: draw_rows(name, seed=0, groups=1) for name in (TRAIN, VALIDATION, TEST)}
    with caplog.at_level("WARNING", "recommender"):
        assert run(train, dataset=build(**alike), output=output) == 0
    assert "the gate decides" in caplog.text
    assert storage.read_json(f"{output}/search.json")["chosen"]["beats_popularity"] is False


def comparison(report: dict[str, Any], baseline: str) -> dict[str, Any]:
    return next(entry for entry in report["comparisons"] if entry["baseline"] == baseline)


def measure(
    run: Callable[..., int], trained: tuple[str, str], output: Path, **more: str
) -> dict[str, Any]:
    dataset, candidate = trained
    assert run(evaluate, dataset=dataset, candidate=candidate, output=str(output), **more) == 0
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    assert all(math.isfinite(s["recall"]) for s in report["models"].values())
    return report

"""Training and measuring on Spark give what one machine gives, in shards that it can read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from small_datasets import builder

from recommender import artifact, columns, config, storage
from recommender.batch import audience
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.distributed import evaluate as distributed
from recommender.distributed import layout, tables
from recommender.errors import ManifestError
from recommender.evaluation import cold_start, leaderboard
from recommender.evaluation.champion import Champion
from recommender.jobs import evaluate, recommend, reproduce, train, verify
from recommender.locations import Locations
from recommender.manifest import seal
from recommender.models import Popularity
from recommender.objective import Als
from recommender.registry import comparison
from recommender.serving import load_model

SETTINGS = """
name: groups
description: Groups of users who like groups of items.
dataset: groups
train:
  engine: spark
  search: null
  contenders: [popularity, popularity_recent, popularity_decayed, item_cosine]
  distributed: {factors: 8, alpha: 20, regularization: 0.05, frequency_exponent: 1, iterations: 5}
gate: {baselines: [popularity]}
evaluate: {k: 5, bootstrap_samples: 200}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("settings") / "spark.yaml"
    path.write_text(SETTINGS)
    return str(path)


@pytest.fixture(scope="module")
def candidate(
    spark: SparkSession, settings: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """Train on Spark, once for all tests, and return (dataset, candidate)."""
    assert spark
    folder = tmp_path_factory.mktemp("trained")
    dataset, output = builder(folder)(), str(folder / "candidate")
    arguments = ["--config", settings, "--dataset", dataset, "--output", output]
    assert train.main(arguments) == 0
    return dataset, output


def run_evaluate(settings: str, dataset: str, candidate: str, output: str, *more: str) -> Any:
    arguments = ["--config", settings, "--dataset", dataset, "--candidate", candidate]
    assert evaluate.main([*arguments, "--output", output, *more]) == 0
    return storage.read_json(f"{output}/report.json")


def assert_close(found: Any, expected: Any, where: str = "") -> None:
    """Compare documents: equal keys and texts, numbers within 1e-9."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_close(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for number, value in enumerate(expected):
            assert_close(found[number], value, f"{where}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), where
    else:
        assert found == expected, where


def test_a_distributed_report_is_that_of_one_machine(
    candidate: tuple[str, str], settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, trained = candidate
    monkeypatch.setattr(distributed, "RANGE_USERS", 17)  # eight ranges, the last one shorter
    champion = str(tmp_path / "version")
    copy_as_version(trained, champion)
    # Alone first: what an executor holds of that must not serve the measurement beside a champion.
    alone = run_evaluate(settings, uri, trained, str(tmp_path / "alone"))
    assert "champion" not in alone["models"]
    report = run_evaluate(settings, uri, trained, str(tmp_path / "report"), "--champion", champion)

    dataset, loaded = open_dataset(uri), artifact.load(trained)
    recommender = config.load(settings)
    models: dict[str, Any] = {
        "als": loaded.models["als"],
        **{n: loaded.models[n] for n in columns.POPULARITY_MODELS},
        "champion": Champion(artifact.load(champion), dataset.users, dataset.items),
    }
    fit = dataset.window(TRAIN, VALIDATION)
    expected = leaderboard.evaluate(models, fit.matrix(), dataset.pairs(TEST), recommender.evaluate)
    for scores in report["models"].values():
        scores.pop("seconds_fit")
    assert report["population"].pop("cold") == {"rows": 7}
    assert_close({key: report[key] for key in expected}, expected)
    # The bootstrap sees the same distinct values as often: no digit differs.
    for entry, other in zip(report["comparisons"], expected["comparisons"], strict=True):
        assert (entry["ci_low"], entry["ci_high"]) == (other["ci_low"], other["ci_high"])
    assert report["overlap"]["champion"] == 1  # it is the same model
    assert report["left_out"].keys() == {"item_cosine"}

    windows = dataset.window(TRAIN), dataset.window(VALIDATION)
    popularity = {"popularity": Popularity()}
    cold = cold_start.measure(*windows, popularity, {}, recommender.evaluate.k)
    assert report["cold"]["users"]["users"] == cold["users"]["users"]
    assert report["cold"]["items"] == cold["items"]


def copy_as_version(candidate: str, version: str, **facts: Any) -> None:
    about = {**storage.read_json(f"{candidate}/manifest.json")["about"], **facts}
    for file in storage.list_files(candidate):
        name = file.uri.removeprefix(f"{candidate}/")
        if name != "manifest.json":
            storage.copy(file.uri, f"{version}/{name}")
    seal(version, "version", about)


def test_a_sharded_candidate_is_read_and_verified_like_a_plain_one(
    candidate: tuple[str, str], settings: str, tmp_path: Path
) -> None:
    uri, trained = candidate
    report = str(tmp_path / "report")
    run_evaluate(settings, uri, trained, report)
    output = str(tmp_path / "verification")
    arguments = ["--config", settings, "--candidate", trained, "--report", report]
    assert verify.main([*arguments, "--output", output]) == 0
    found = storage.read_json(f"{output}/verification.json")
    assert found["passed"], found["findings"]
    assert (found["users"], found["differing"]) == (120, 0)

    model = load_model(trained, "candidate", "candidate")
    dataset = open_dataset(uri)
    fit = dataset.window(TRAIN, VALIDATION)
    for user in (0, 77):
        had = fit.items[fit.indptr[user] : fit.indptr[user + 1]]
        assert model.seen(dataset.users[user].as_py()) == tuple(
            dataset.items[int(item)].as_py() for item in had
        )


def test_everyone_gets_lists_from_a_sharded_version(
    candidate: tuple[str, str], settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, trained = candidate
    version, output = str(tmp_path / "version"), str(tmp_path / "lists")
    copy_as_version(trained, version)
    monkeypatch.setattr(audience, "RANGE_USERS", 50)
    arguments = ["--config", settings, "--version", version, "--dataset", uri, "--output", output]
    assert recommend.main(arguments) == 0
    table = pq.read_table(f"{output}/users", partitioning=None).to_pandas()
    dataset, model = open_dataset(uri), load_model(version, "version", "v1")
    assert table.groupby("user_id").size().to_dict() == dict.fromkeys(dataset.users.to_pylist(), 20)
    unchanged = table[table["source"] == "personal"]["user_id"].unique().tolist()
    assert unchanged
    for ranked in model.recommend(unchanged, 20):
        own = table[table["user_id"] == ranked.of]
        assert own["item_id"].tolist() == list(ranked.items)


def test_sharded_versions_are_compared_by_what_users_would_see(
    candidate: tuple[str, str], tmp_path: Path
) -> None:
    locations = Locations("", "", str(tmp_path))
    for name in ("one", "other"):
        copy_as_version(candidate[1], locations.version("groups", name))
    found = comparison.overlap(locations, "groups", ("one", "other"), k=5, users=50)
    assert found == {
        "users of A": 120,
        "users of B": 120,
        "users in both": 120,
        "items of A": 80,
        "items of B": 80,
        "users compared": 50,
        "mean overlap of their top 5": 1,
    }


def test_a_sharded_version_is_made_again_with_spark(
    candidate: tuple[str, str], settings: str, tmp_path: Path
) -> None:
    uri, trained = candidate
    report = run_evaluate(settings, uri, trained, str(tmp_path / "report"))
    version = str(tmp_path / "version")
    copy_as_version(trained, version, metrics=report["models"], lineage=report["lineage"])
    found = reproduce.reproduce(version, str(tmp_path / "again"), None, tolerance=0.01)
    assert found.answer in ("bit-equal", "metric-equal"), list(found.lines())
    assert found.worst <= 0.01
    again = storage.read_json(str(tmp_path / "again" / "candidate" / "manifest.json"))
    assert layout.is_sharded(again["files"])
    assert again["about"]["setting"]["factors"] == 8  # train.distributed, not train.als


def test_the_factors_minimise_the_canonical_objective(candidate: tuple[str, str]) -> None:
    """Spark ends with the users' half-step: every user's factors solve the normal equations."""
    uri, trained = candidate
    als = Als(**storage.read_json(f"{trained}/manifest.json")["about"]["setting"])
    model: Any = artifact.load(trained).models["als"]
    fit = open_dataset(uri).window(TRAIN, VALIDATION).matrix().toarray()
    items = model.item_factors.astype(np.float64)
    for user in (0, 5, 41):
        weight = np.where(fit[user] > 0, als.alpha * fit[user], als.unobserved)
        penalty = als.regularization * np.count_nonzero(fit[user]) * np.eye(als.factors)
        left = (items * weight[:, None]).T @ items + penalty
        expected = np.linalg.solve(left, items.T @ (weight * (fit[user] > 0)))
        assert model.user_factors[user] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_fifty_iterations_do_not_overflow_the_stack(
    spark: SparkSession, build: Callable[..., str], settings: str, tmp_path: Path
) -> None:
    assert spark
    output = str(tmp_path / "candidate")
    arguments = ["--config", settings, "--dataset", build(), "--output", output]
    assert train.main([*arguments, "--set", "train.distributed.iterations=50"]) == 0
    assert np.isfinite(artifact.load(output).models["als"].item_factors).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.search={}", "train.search to null"),
        ("gate.baselines=[popularity, item_cosine]", "item_cosine"),
    ],
)
def test_what_spark_would_leave_out_is_refused_before_it_starts(
    build: Callable[..., str],
    settings: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    override: str,
    said: str,
) -> None:
    output = str(tmp_path / "candidate")
    arguments = ["--config", settings, "--dataset", build(), "--output", output]
    assert train.main([*arguments, "--set", override]) == 3
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_range_is_read_from_the_row_groups_that_hold_it(tmp_path: Path) -> None:
    table = {"user": np.repeat(np.arange(100, dtype=np.int32), 3), "item": np.arange(300)}
    import pyarrow as pa

    pq.write_table(pa.table(table), tmp_path / "part-0.parquet", row_group_size=40)
    opened = tables.open_table(str(tmp_path), "user")
    assert opened.rows == 300
    found = tables.read(opened, 20, 33, ["user", "item"])
    assert found["item"].tolist() == list(range(60, 99))
    assert set(found["user"]) == set(range(20, 33))


def test_shards_of_two_fits_are_refused(candidate: tuple[str, str], tmp_path: Path) -> None:
    trained = shutil.copytree(candidate[1], tmp_path / "torn")
    (scores,) = Path(trained, layout.ITEM_SCORES).glob("*.parquet")
    table = pq.read_table(scores)
    pq.write_table(table.slice(0, table.num_rows - 1), scores)
    (tmp_path / "plain").mkdir()
    with pytest.raises(ManifestError, match="expected 80 items, found 79"):
        layout.assemble(trained, tmp_path / "plain")


def test_the_manifest_names_every_shard(candidate: tuple[str, str]) -> None:
    _, trained = candidate
    names = json.loads(Path(trained, "manifest.json").read_text())["files"]
    assert layout.is_sharded(names)
    assert not [name for name in names if name.endswith(".npy")]

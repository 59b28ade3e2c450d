"""Whole runs of the DAG: real Airflow, real Spark, real ALS over the embedded AWS."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cloud import LOCATIONS, Cloud, Result

from recommender import registry, storage
from recommender.locations import join, run_key

pytestmark = [pytest.mark.airflow, pytest.mark.localaws, pytest.mark.spark]

Run = Callable[..., Result]
SNAPSHOT = "2024-03-31"


def test_a_good_candidate_is_promoted_and_then_stands_as_champion(
    dags_test: Run, cloud: Cloud
) -> None:
    first = dags_test("retrain_shop", engine="auto")
    assert first.succeeded, first.log[-5000:]
    assert "engine implicit, chosen by size" in first.log
    decision = first.decision("shop", SNAPSHOT)
    assert decision["verdict"] == "promoted", decision["reason"]
    loaded = registry.load_champion(LOCATIONS, "shop")  # verifies every byte
    assert loaded is not None
    champion, version = loaded
    assert champion.run_key == run_key(first.run_id)
    assert {"als/user_factors.npy", "decision.json", "report.json"} <= version.files.keys()

    clusters = cloud.clusters_of(first.run_id)
    assert len(clusters) == 2
    for cluster in clusters:
        assert cluster["Status"]["State"] == "TERMINATED"
        assert cluster["Status"]["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"

    # The same snapshot again, by request: the champion is scored beside the candidate.
    second = dags_test("retrain_shop", snapshot=SNAPSHOT, retrain_identical=True)
    assert second.succeeded
    before, now = (
        storage.read_json(
            join(LOCATIONS.work, "runs/shop", SNAPSHOT, run_key(run.run_id), "report/report.json")
        )
        for run in (first, second)
    )
    assert now["lineage"]["champion"]["version"] == champion.version
    chosen, asked = (report["training"]["engine"] for report in (before, now))
    assert (chosen["engine"], asked["engine"]) == ("implicit", "implicit")
    assert "the r5.xlarge of shape single_node has" in chosen["why"]
    assert asked["why"].startswith("implicit, asked for")
    for metric in (
        "recall",
        "ndcg",
        "map",
        "hit_rate",
        "coverage",
    ):  # on the same rows, to the digit
        assert now["models"]["champion"][metric] == before["models"]["als"][metric]


def test_data_that_the_champion_knows_is_not_trained_on_again(dags_test: Run, cloud: Cloud) -> None:
    champion = registry.read_champion(LOCATIONS, "shop")
    assert champion is not None  # the test above has promoted it
    result = dags_test("retrain_shop", snapshot=SNAPSHOT)
    assert result.succeeded, result.log[-5000:]
    assert f"data, code and settings are those of champion {champion[0].version}" in result.log
    (cluster,) = cloud.clusters_of(result.run_id)  # no training cluster was paid for
    assert cluster["Status"]["State"] == "TERMINATED"
    assert registry.read_champion(LOCATIONS, "shop") == champion
    key = run_key(result.run_id)
    run = LOCATIONS.run("shop", dt.date.fromisoformat(SNAPSHOT), key)
    record = storage.read_json(join(run.checks, "checks.json"))
    assert record["outcome"] == "passed", record["reason"]
    assert record["compared_with"]["snapshot"] == SNAPSHOT
    assert not storage.exists(LOCATIONS.decision("shop", dt.date.fromisoformat(SNAPSHOT), key))


def test_a_bad_setting_is_refused_in_a_green_run(dags_test: Run) -> None:
    result = dags_test("retrain_shop_bad")
    assert result.succeeded
    decision = result.decision("shop_bad", SNAPSHOT)
    assert decision["verdict"] == "refused"
    failed = [rule["name"] for rule in decision["rules"] if not rule["passed"]]
    assert "beats_baseline" in failed
    assert f"refused: {decision['reason']}" in result.log
    assert registry.read_champion(LOCATIONS, "shop_bad") is None
    assert storage.list_children(LOCATIONS.versions("shop_bad")) == []


def test_a_missing_snapshot_fails_at_once_and_names_the_nearest(
    dags_test: Run, cloud: Cloud
) -> None:
    result = dags_test("retrain_shop", snapshot="2024-03-15")
    assert not result.succeeded
    assert "expected a snapshot at s3://recsys-lake/snapshots/shop/2024-03-15/" in result.log
    assert "the nearest are 2024-01-31, 2024-02-29, 2024-03-31" in result.log
    assert cloud.clusters_of(result.run_id) == []


def test_broken_lines_stop_the_run_before_training_and_are_named(
    dags_test: Run, cloud: Cloud
) -> None:
    result = dags_test("retrain_shop_dirty", snapshot=SNAPSHOT)
    assert not result.succeeded
    # The failed task's own log says it: no digging in S3.
    assert "step preprocess" in result.log
    assert "part-0.json.gz" in result.log
    assert "bad_line_budget" in result.log
    assert len(cloud.clusters_of(result.run_id)) == 1  # no training cluster was paid for
    quarantine = join(
        LOCATIONS.work, "runs/shop_dirty", SNAPSHOT, run_key(result.run_id), "quarantine"
    )
    assert storage.list_files(quarantine)

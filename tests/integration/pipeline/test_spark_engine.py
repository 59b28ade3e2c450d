"""A whole run on the engine that no single machine has to hold, to its verdict."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cloud import LOCATIONS, Cloud, Result

from recommender import serving, storage
from recommender.distributed import layout
from recommender.locations import join, run_key
from recommender.registry import publishing as registry

pytestmark = [pytest.mark.airflow, pytest.mark.localaws, pytest.mark.spark]

SNAPSHOT = "2024-03-31"


def test_a_run_too_large_for_its_machine_goes_to_spark_and_publishes_shards_that_a_reader_serves(
    dags_test: Callable[..., Result], cloud: Cloud
) -> None:
    result = dags_test("retrain_shop_spark", snapshot=SNAPSHOT)
    assert result.succeeded, result.log[-5000:]
    decision = result.decision("shop_spark", SNAPSHOT)
    assert decision["verdict"] == "promoted", decision["reason"]
    loaded = registry.load_champion(LOCATIONS, "shop_spark")  # verifies every byte
    assert loaded is not None
    assert layout.is_sharded(loaded[1].files)
    assert not [name for name in loaded[1].files if name.endswith(".npy")]
    run = join(LOCATIONS.work, "runs/shop_spark", SNAPSHOT, run_key(result.run_id))
    report = storage.read_json(join(run, "report/report.json"))
    chosen = report["training"]["engine"]
    assert chosen["engine"] == "spark"
    assert chosen["why"].startswith("spark, chosen by size: ")
    assert chosen["why"].endswith("train.search is skipped, train.distributed is fitted as it is")
    assert storage.read_json(join(run, "candidate/summary.json"))["trials"] == 0
    model = serving.load_version(LOCATIONS.models, "shop_spark", loaded[0].version)
    (ranked,) = model.recommend(["u0007"], 5)
    assert (ranked.source, len(ranked.items)) == ("personal", 5)
    assert not set(ranked.items) & set(model.seen("u0007"))
    assert len(cloud.clusters_of(result.run_id)) == 2

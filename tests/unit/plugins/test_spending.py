"""The tasks about money: every attempt is priced, and what has no price passes no budget."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

from recommender import environment
from recommender.clusters import pricing
from recommender.clusters.pricing import Cost, Usage
from recommender.config import Recommender
from recsys_emr import clusters, costs, spending
from recsys_emr.clusters import Found, Owner

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
TABLE = pricing.load("us-east-1")


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, "local")
    monkeypatch.setattr(clusters, "emr_client", lambda _region: object())


def context(try_number: int = 1) -> Any:
    """A task's context as far as these functions look."""
    return {
        "dag_run": SimpleNamespace(dag_id="retrain_shop", run_id="manual__1"),
        "ti": SimpleNamespace(try_number=try_number, max_tries=2),
    }


def serve(monkeypatch: pytest.MonkeyPatch, lives: dict[str, float]) -> list[Owner]:
    """Let EMR know clusters, each of one m5.xlarge for so many seconds."""
    asked: list[Owner] = []

    def of_stage(_client: object, owner: Owner) -> list[Found]:
        asked.append(owner)
        return [Found(one, "n", "TERMINATED", "c", NOW, {}) for one in lives]

    def read_usage(_client: object, cluster_id: str, *_: object) -> list[Usage]:
        return [Usage("m5.xlarge", lives[cluster_id], 0)]

    monkeypatch.setattr(clusters, "of_stage", of_stage)
    monkeypatch.setattr(costs, "read_usage", read_usage)
    return asked


def test_every_attempt_of_a_stage_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, {"j-1": 1800, "j-2": 3600})
    priced = spending.price_stage("train", "single_node", context())
    assert priced["usd"] == pytest.approx(0.240 * 1.5)
    assert priced["instance_hours"] == 1.5
    assert priced["simulated"] is True
    assert sorted(priced["clusters"]) == ["j-1", "j-2"]
    assert asked[0].stage.name == "train"
    assert asked[0].stage.run_id == "manual__1"


def test_a_stage_that_never_had_a_cluster_has_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, {})
    assert spending.price_stage("train", "single_node", context())["usd"] == 0


def throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[Found]:
        error: Any = {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}
        raise ClientError(error, "ListClusters")

    monkeypatch.setattr(clusters, "of_stage", refuse)


def test_a_price_that_cannot_be_had_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle(monkeypatch)
    with pytest.raises(ClientError):
        spending.price_stage("train", "single_node", context(try_number=2))


def test_after_the_last_retry_the_price_is_unknown_and_not_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    throttle(monkeypatch)
    priced = spending.price_stage("train", "single_node", context(try_number=3))
    assert priced["usd"] is None
    assert priced["unknown"] == ["the clusters of stage train"]


def shop(budget: float | None) -> Recommender:
    return Recommender(name="shop", description="x", dataset="shop", budget_usd=budget)


def spent(usd: float | None) -> list[dict[str, Any]]:
    cost = Cost(usd, 1.0, () if usd is not None else ("x9.large",))
    return [costs.stage_cost("preprocess", cost, TABLE, simulated=True)]


def test_the_second_cluster_is_held_to_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    spending.hold_budget(shop(1.0), spent(0.9), "single_node")
    with pytest.raises(AirflowFailException, match=r"0\.9900 USD spent and 0\.01"):
        spending.hold_budget(shop(1.0), spent(0.99), "single_node")


@pytest.mark.parametrize("budget", [None, 1.0])
def test_an_unknown_price_stops_a_run_only_where_there_is_a_budget(budget: float | None) -> None:
    if budget is None:
        spending.hold_budget(shop(budget), spent(None), "single_node")
        return
    with pytest.raises(AirflowFailException, match=r"unknown price for x9\.large"):
        spending.hold_budget(shop(budget), spent(None), "single_node")

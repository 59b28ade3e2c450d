"""What a cluster has cost, by EMR's own account of its instances; and the budget."""

from __future__ import annotations

import datetime as dt
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from recommender import environment, gate
from recommender.clusters import pricing
from recommender.clusters.pricing import Cost
from recsys_emr import costs
from recsys_emr.costs import BudgetError

START = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)
TABLE = pricing.load("us-east-1")
M5, R5 = 0.192 + 0.048, 0.252 + 0.063  # USD an hour, EC2 and EMR


def after(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def instance(
    fleet: str, kind: str, begun: float | None = 0, ended: float | None = 30
) -> dict[str, Any]:
    timeline = {}
    if begun is not None:
        timeline["CreationDateTime"] = after(begun)
    if ended is not None:
        timeline["EndDateTime"] = after(ended)
    status = {"State": "TERMINATED", "Timeline": timeline}
    return {"InstanceFleetId": fleet, "InstanceType": kind, "Status": status}


def stage(usd: float | None, name: str = "preprocess") -> dict[str, Any]:
    cost = Cost(usd, 1.0, () if usd is not None else ("x9.large",))
    return costs.stage_cost(name, cost, TABLE, simulated=False)


def test_instances_are_priced_by_their_own_lives() -> None:
    """A primary for 30 minutes, a core node that came 10 later, a task node lost after 5."""
    instances = [
        instance("p", "m5.xlarge"),
        instance("c", "r5.xlarge", begun=10),
        instance("t", "m5.xlarge", ended=5),
    ]
    found = pricing.cost(costs.usages(instances, {"p": 0, "c": 0, "t": 0}, after(60)), TABLE)
    assert found.usd == pytest.approx(M5 * 0.5 + R5 * 20 / 60 + M5 * 5 / 60)
    assert found.instance_hours == pytest.approx(55 / 60)


def test_an_instance_that_still_runs_counts_until_now() -> None:
    usages = costs.usages([instance("p", "m5.xlarge", ended=None)], {"p": 0}, after(45))
    assert [usage.seconds for usage in usages] == [45 * 60]


def test_an_instance_that_was_never_created_costs_nothing() -> None:
    assert costs.usages([instance("p", "m5.xlarge", begun=None, ended=None)], {}, START) == []


def test_emr_is_asked_for_fleets_and_every_page_of_instances() -> None:
    client = boto3.client("emr", region_name="us-east-1")
    shape = environment.load("aws").shape("preprocessing")
    fleets = [
        {"Id": "if-1", "InstanceFleetType": "MASTER"},
        {"Id": "if-2", "InstanceFleetType": "CORE"},
    ]
    with Stubber(client) as stub:
        asked = {"ClusterId": "j-1"}
        stub.add_response("list_instance_fleets", {"InstanceFleets": fleets}, asked)
        page = {"Instances": [instance("if-1", "m5.xlarge")], "Marker": "more"}
        stub.add_response("list_instances", page, asked)
        last = {"Instances": [instance("if-2", "r5.xlarge")]}
        stub.add_response("list_instances", last, {**asked, "Marker": "more"})
        found = costs.read_usage(client, "j-1", shape, after(60))
        stub.assert_no_pending_responses()
    assert [(u.instance_type, u.disk_gb) for u in found] == [("m5.xlarge", 64), ("r5.xlarge", 128)]


def test_a_budget_holds_before_the_first_cluster() -> None:
    costs.check_budget(2.0, [], [Cost(0.9, 1), Cost(1.1, 1)])
    with pytest.raises(
        BudgetError, match=r"within budget_usd 1\.9, found 0\.0000 USD spent and 2\.00"
    ):
        costs.check_budget(1.9, [], [Cost(0.9, 1), Cost(1.1, 1)])


def test_a_budget_is_held_again_with_what_was_really_spent() -> None:
    costs.check_budget(2.0, [stage(0.9)], [Cost(1.1, 1)])
    with pytest.raises(BudgetError, match=r"1\.5000 USD spent and 1\.1000 USD to come"):
        costs.check_budget(2.0, [stage(1.5)], [Cost(1.1, 1)])


@pytest.mark.parametrize(
    ("spent", "to_come"), [(stage(None), Cost(0.1, 1)), (stage(0.1), Cost(None, 1, ("x9.large",)))]
)
def test_a_budget_refuses_what_has_no_price(spent: dict[str, Any], to_come: Cost) -> None:
    with pytest.raises(BudgetError, match=r"unknown price for x9\.large: run `make prices`"):
        costs.check_budget(100.0, [spent], [to_come])


def test_without_a_budget_an_unknown_price_stops_nothing() -> None:
    costs.check_budget(None, [stage(None)], [Cost(None, 1, ("x9.large",))])


def test_the_log_shows_stages_sum_and_budget() -> None:
    text = costs.describe([stage(0.5), stage(0.25, "train")], 2.0)
    assert "preprocess       1.000 instance-hours  0.5000 USD" in text
    assert "in all           2.000 instance-hours  0.7500 USD of 2 USD budget" in text
    assert "no money was spent" not in text


def test_a_simulated_price_says_that_nothing_was_billed() -> None:
    priced = costs.stage_cost("train", Cost(0.5, 1.0), TABLE, simulated=True)
    assert "no money was spent" in costs.describe([priced], None)


def test_the_gate_keeps_what_xcom_holds() -> None:
    kept = gate.StageCost.from_json(stage(0.5))
    assert kept.to_json() == stage(0.5)

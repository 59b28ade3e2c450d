"""Say what a cluster has cost, and stop a run that would exceed its budget.

EMR tells the life of every instance; the price table tells the rest. JSON values only come out:
they go through XCom and into the decision's record.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recommender.clusters import pricing
from recommender.clusters.pricing import Cost, PriceTable, Usage
from recommender.clusters.shapes import Shape
from recommender.environment import Environment
from recommender.errors import RecommenderError

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient


class BudgetError(RecommenderError):
    """The run would cost more than its budget, or nobody knows whether it would."""


@dataclass(frozen=True)
class Allowance:
    """Hold what a stage has to leave of the run's budget.

    Attributes:
        usd: ``budget_usd`` of the whole run; None for no limit.
        later: shapes of the stages that come after this one.
    """

    usd: float | None = None
    later: tuple[str, ...] = ()


def read_usage(client: EMRClient, cluster_id: str, shape: Shape, now: dt.datetime) -> list[Usage]:
    """Return how long every instance of a cluster has been there.

    Args:
        client: an EMR client.
        cluster_id: the cluster, ended or not.
        shape: what it was asked to look like; EMR does not tell the size of disks.
        now: until when an instance without an end counts.
    """
    fleets = client.get_paginator("list_instance_fleets").paginate(ClusterId=cluster_id)
    kinds = {f["Id"]: f["InstanceFleetType"] for page in fleets for f in page["InstanceFleets"]}
    pages = client.get_paginator("list_instances").paginate(ClusterId=cluster_id)
    instances = (dict(instance) for page in pages for instance in page["Instances"])
    disks = {kind: fleet.disk_gb for kind, fleet in shape.fleets.items()}
    return usages(instances, {key: disks[kind] for key, kind in kinds.items()}, now)


def usages(
    instances: Iterable[Mapping[str, Any]], disks: Mapping[str, int], now: dt.datetime
) -> list[Usage]:
    """Read ListInstances' entries; one that never left the queue has cost nothing."""
    found = []
    for instance in instances:
        times = instance["Status"].get("Timeline", {})
        begun, ended = times.get("CreationDateTime"), times.get("EndDateTime")
        if begun is None:
            continue
        seconds = ((ended or now) - begun).total_seconds()
        found.append(Usage(instance["InstanceType"], seconds, disks[instance["InstanceFleetId"]]))
    return found


def stage_cost(
    stage: str, cost: Cost, table: PriceTable, *, simulated: bool, clusters: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the price of a stage, and its clusters' ids, as XCom and the decision's record hold it."""
    return {
        "stage": stage,
        "usd": None if cost.usd is None else round(cost.usd, 6),
        "instance_hours": round(cost.instance_hours, 6),
        "unknown": list(cost.unknown),
        "prices_as_of": table.as_of.isoformat(),
        "simulated": simulated,
        "clusters": list(clusters),
    }


def total(stages: Iterable[Mapping[str, Any]]) -> Cost:
    """Add up what ``stage_cost`` returned; unknown if any part is."""
    return pricing.add(
        Cost(stage["usd"], stage["instance_hours"], tuple(stage["unknown"])) for stage in stages
    )


def describe(stages: Iterable[Mapping[str, Any]], budget: float | None) -> str:
    """Return the stages and their sum as an aligned table for the log."""
    rows = list(stages)
    lines = [
        _line(row["stage"], Cost(row["usd"], row["instance_hours"], tuple(row["unknown"])))
        for row in rows
    ]
    whole = total(rows)
    lines.append(_line("in all", whole) + ("" if budget is None else f" of {budget:g} USD budget"))
    if any(row["simulated"] for row in rows):
        lines.append(
            "no money was spent: this is what the embedded AWS would have cost as clusters"
        )
    dates = sorted({row["prices_as_of"] for row in rows})
    lines.append(
        f"list prices of {', '.join(dates)}; Spot as if on demand; S3 and transfer left out"
    )
    return "\n".join(lines)


def check_budget(
    budget: float | None, spent: Iterable[Mapping[str, Any]], expected: Iterable[Cost]
) -> None:
    """Refuse to go on when spent and expected cost together exceed the budget.

    Args:
        budget: USD of the whole run; None for no limit.
        spent: ``stage_cost`` of every stage that has run.
        expected: what each stage to come is expected to cost.

    Raises:
        BudgetError: it is too much, or a price is not known.
    """
    if budget is None:
        return
    so_far, to_come = total(spent), pricing.add(expected)
    whole = pricing.add([so_far, to_come])
    if whole.usd is None:
        message = f"expected a price to hold against budget_usd {budget:g}, found {whole.text}"
        raise BudgetError(message)
    if whole.usd > budget:
        message = (
            f"expected a run within budget_usd {budget:g}, found {so_far.text} spent and "
            f"{to_come.text} to come; raise budget_usd, or take a smaller shape or shorter "
            "expected_minutes"
        )
        raise BudgetError(message)


def expected(env: Environment, shape: str, table: PriceTable) -> Cost:
    """Return what a stage on a shape is expected to cost."""
    found = env.shape(shape)
    return pricing.expect(found, found.planned_minutes, table)


def _line(name: str, cost: Cost) -> str:
    return f"  {name:<12} {cost.instance_hours:>9.3f} instance-hours  {cost.text}"

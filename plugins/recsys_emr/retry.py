"""Decide what another attempt is worth and what it asks for: pure functions.

Only failures of the surroundings are tried again, because only they can end differently: machines
that were not to be had, machines that were taken away, calls that came too fast. Data, settings
and our own named errors fail the same way each time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from recsys_emr.failures import Kind

RETRYABLE = frozenset({Kind.CAPACITY, Kind.SPOT_LOSS, Kind.THROTTLED})
ATTEMPTS = 3  # clusters a stage may cost at most; the third asks for what is most surely there
REFUSALS = 4  # times a throttled RunJobFlow is asked again, after 2, 4, 8 and 16 units


def may_retry(kind: Kind, attempt: int, attempts: int = ATTEMPTS) -> bool:
    """Tell whether a failure of this class at this attempt (1 is the first) is tried again."""
    return kind in RETRYABLE and attempt < attempts


def fallback(
    request: dict[str, Any], attempt: int, kind: Kind, lost_subnet: str = ""
) -> dict[str, Any]:
    """Return the RunJobFlow request of another attempt: the first's, with other machines.

    After a loss of Spot or a lack of capacity everything is bought on demand. After a lack of
    capacity, moreover, the next instance types come first (EMR follows an order only if it is told
    to: allocation strategy ``prioritized``), and, where there is a choice, without the subnet whose
    zone had none. A throttled call asks for the same again.

    Args:
        request: the first attempt's; it is not changed.
        attempt: number of the attempt to come, 2 or more.
        kind: why the last one failed.
        lost_subnet: where it failed.
    """
    changed = copy.deepcopy(request)
    if kind not in {Kind.CAPACITY, Kind.SPOT_LOSS}:
        return changed
    instances = changed["Instances"]
    for fleet in instances.get("InstanceFleets", []):
        _buy_on_demand(fleet)
        if kind is Kind.CAPACITY:
            _prefer_others(fleet, attempt - 1)
    subnets = instances.get("Ec2SubnetIds", [])
    if kind is Kind.CAPACITY and lost_subnet in subnets and len(subnets) > 1:
        instances["Ec2SubnetIds"] = [subnet for subnet in subnets if subnet != lost_subnet]
    return changed


def _buy_on_demand(fleet: dict[str, Any]) -> None:
    spot = fleet.get("TargetSpotCapacity", 0)
    fleet["TargetOnDemandCapacity"] = fleet.get("TargetOnDemandCapacity", 0) + spot
    fleet["TargetSpotCapacity"] = 0
    launch = fleet.get("LaunchSpecifications", {})
    launch.pop("SpotSpecification", None)
    if not launch:
        fleet.pop("LaunchSpecifications", None)
    for config in fleet["InstanceTypeConfigs"]:  # prices of a market that is no longer asked
        config.pop("BidPrice", None)
        config.pop("BidPriceAsPercentageOfOnDemandPrice", None)


def _prefer_others(fleet: dict[str, Any], by: int) -> None:
    types: Sequence[dict[str, Any]] = fleet["InstanceTypeConfigs"]
    start = by % len(types)
    turned = [*types[start:], *types[:start]]
    fleet["InstanceTypeConfigs"] = [
        {**config, "Priority": float(place)} for place, config in enumerate(turned)
    ]
    launch = fleet.setdefault("LaunchSpecifications", {})
    on_demand = launch.setdefault("OnDemandSpecification", {})
    on_demand["AllocationStrategy"] = "prioritized"

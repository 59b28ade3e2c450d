"""Price clusters: instance-hours times a dated table of list prices. Pure but for reading the table.

A price that is not known makes the sum unknown and says whose it is; it is never taken for zero.
What is left out: S3, data transfer, the nodes' small root volumes, taxes, discounts. Spot is priced
as if it were on demand, so that an estimate is an upper bound.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import Field

from recommender.clusters.shapes import Fleet, Shape
from recommender.config import parse
from recommender.environment import config_directory
from recommender.errors import ConfigError
from recommender.settings import Settings

MINIMUM_SECONDS = 60
# https://aws.amazon.com/ebs/pricing/ counts a month as 30 days.
_MONTH_SECONDS = 30 * 24 * 3600
_SHIPPED = Path(__file__).resolve().parents[2] / "config"


class Rate(Settings):
    """Hold what an hour of one instance type costs, in USD; null where it is not known."""

    ec2: float | None = Field(ge=0)
    emr: float | None = Field(ge=0)
    """EMR's fee, on top of EC2's price."""


class PriceTable(Settings):
    """Hold the list prices of one region at one date."""

    region: str
    as_of: dt.date
    source: str
    ebs_gp3_gb_month: float = Field(ge=0)
    """USD for a gigabyte of a gp3 volume over a month."""

    instances: dict[str, Rate]


@dataclass(frozen=True)
class Usage:
    """Say how long one kind of instance was, or will be, there.

    Attributes:
        instance_type: EC2's name of it.
        seconds: time of each instance, from its request to its end.
        disk_gb: gp3 volume of each.
        count: how many there are.
    """

    instance_type: str
    seconds: float
    disk_gb: int
    count: int = 1

    @property
    def billed_seconds(self) -> int:
        """Return what is billed of each: whole seconds, a minute at least."""
        return max(MINIMUM_SECONDS, math.ceil(self.seconds))


@dataclass(frozen=True)
class Cost:
    """Hold a sum in USD; ``usd`` is None when a price in it is not known.

    Attributes:
        usd: EC2, EMR's fee and EBS together.
        instance_hours: billed hours of all instances.
        unknown: instance types without a price.
    """

    usd: float | None
    instance_hours: float
    unknown: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the sum for a person, or what to do where there is none."""
        if self.usd is None:
            return f"unknown price for {', '.join(self.unknown)}: run `make prices`"
        return f"{self.usd:.4f} USD"


def load(region: str) -> PriceTable:
    """Read the newest table of a region: the deployment's own, else the shipped one.

    Raises:
        ConfigError: there is none, or it is malformed.
    """
    for root in (config_directory(), _SHIPPED):
        files = sorted((root / "prices").glob(f"{region}.????-??-??.yaml"))
        if files:
            return parse(PriceTable, yaml.safe_load(files[-1].read_text()), str(files[-1]))
    message = (
        f"expected a price table config/prices/{region}.<date>.yaml, found none: run `make prices`"
    )
    raise ConfigError(message)


def cost(usages: Iterable[Usage], table: PriceTable) -> Cost:
    """Return billed hours times prices, by the second, with a minute's minimum an instance."""
    usd, hours, unknown = 0.0, 0.0, set[str]()
    for usage in usages:
        billed = usage.billed_seconds * usage.count
        hours += billed / 3600
        rate = table.instances.get(usage.instance_type)
        if rate is None or rate.ec2 is None or rate.emr is None:
            unknown.add(usage.instance_type)
            continue
        usd += (rate.ec2 + rate.emr) * billed / 3600
        usd += table.ebs_gp3_gb_month * usage.disk_gb * billed / _MONTH_SECONDS
    return Cost(None if unknown else usd, hours, tuple(sorted(unknown)))


def add(costs: Iterable[Cost]) -> Cost:
    """Return the sum; unknown if any part is."""
    parts = list(costs)
    known = [part.usd for part in parts if part.usd is not None]
    return Cost(
        sum(known) if len(known) == len(parts) else None,
        sum(part.instance_hours for part in parts),
        tuple(sorted({name for part in parts for name in part.unknown})),
    )


def expect(shape: Shape, minutes: float, table: PriceTable) -> Cost:
    """Return what a cluster costs over a time, every fleet taken at its dearest choice of types."""
    return add(_dearest(fleet, minutes * 60, table) for fleet in shape.fleets.values())


def _dearest(fleet: Fleet, seconds: float, table: PriceTable) -> Cost:
    """Price a fleet as if EMR filled it with the one type that costs most; it may choose any."""
    choices = [
        cost([Usage(name, seconds, fleet.disk_gb, _instances(fleet, weight))], table)
        for name, weight in fleet.instance_types.items()
    ]
    unknown = tuple(sorted({name for choice in choices for name in choice.unknown}))
    dearest = max(choices, key=lambda choice: choice.usd or 0.0)
    return Cost(None if unknown else dearest.usd, dearest.instance_hours, unknown)


def _instances(fleet: Fleet, weight: int) -> int:
    """Return how many instances fill a fleet: EMR rounds each market up to whole instances."""
    return math.ceil(fleet.on_demand / weight) + math.ceil(fleet.spot / weight)

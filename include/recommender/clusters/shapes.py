"""Describe cluster shapes: fleets of interchangeable instances, and the rules EMR has for them.

What is wrong here is found when the configuration is read, not when a cluster fails to start.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from recommender.settings import Settings

Architecture = Literal["arm64", "x86_64"]
SpotStrategy = Literal[
    "price-capacity-optimized", "capacity-optimized", "lowest-price", "diversified"
]
OnDemandStrategy = Literal["lowest-price", "prioritized"]

# A stage that has never been measured is expected to take half of its limit.
EXPECTED_SHARE_OF_LIMIT = 0.5

# EC2's names: series, generation, processor (g is Graviton; a and i are x86), options, dot, size.
_INSTANCE_TYPE = re.compile(r"(?P<series>[a-z]+)(?P<generation>\d+)(?P<options>[a-z0-9-]*)\.\w+")


def architecture_of(instance_type: str) -> Architecture:
    """Return the processor architecture that an EC2 instance type's name states.

    https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html; the first
    Graviton, a1, was named before that rule.

    Raises:
        ValueError: this is no name of an instance type.
    """
    found = _INSTANCE_TYPE.fullmatch(instance_type)
    if not found:
        message = f"expected an EC2 instance type such as m6g.xlarge, found {instance_type!r}"
        raise ValueError(message)
    graviton = found["options"].startswith("g") or found["series"] + found["generation"] == "a1"
    return "arm64" if graviton else "x86_64"


class Fleet(Settings):
    """Describe one instance fleet: interchangeable types and how much of them."""

    instance_types: dict[str, int] = Field(min_length=1, max_length=30)
    """Instance type -> weighted capacity; ``prioritized`` takes them in this order."""

    on_demand: int = Field(default=0, ge=0)
    """Units of capacity bought on demand."""

    spot: int = Field(default=0, ge=0)
    """Units of capacity bought on the Spot market."""

    disk_gb: int = Field(default=64, ge=10)
    """EBS gp3 volume of every instance."""

    spot_allocation: SpotStrategy = "price-capacity-optimized"
    """How EMR chooses among the types on the Spot market."""

    on_demand_allocation: OnDemandStrategy = "lowest-price"
    """How EMR chooses among the types on demand."""

    @field_validator("instance_types")
    @classmethod
    def _types_are_types(cls, types: dict[str, int]) -> dict[str, int]:
        for name, weight in types.items():
            architecture_of(name)
            if weight < 1:
                message = f"{name}: expected a weighted capacity of 1 or more, found {weight}"
                raise ValueError(message)
        return types

    @model_validator(mode="after")
    def _has_capacity(self) -> Fleet:
        if self.on_demand + self.spot == 0:
            message = "a fleet needs on_demand or spot capacity"
            raise ValueError(message)
        return self


class Shape(Settings):
    """Describe a cluster for one kind of work."""

    architecture: Architecture = "x86_64"
    """Processor of every instance, ``arm64`` for Graviton: the wheels are built for one."""

    primary: Fleet
    core: Fleet | None = None
    task: Fleet | None = None

    minutes: float = Field(gt=0)
    """Time limit of the stage, cluster start included; beyond it the cluster is terminated."""

    expected_minutes: float | None = Field(default=None, gt=0)
    """What a run is expected to take, start included; the plan's price. Null: half of the limit."""

    spark_master: Literal["yarn", "local[*]"] = "yarn"
    """Where Spark runs: on the cluster, or inside the primary for single-machine training."""

    driver_memory: str = Field(default="4g", pattern=r"^\d+[mg]$")
    """Heap of the Spark driver; single-machine training needs little, its memory is Python's."""

    provisioning_minutes: int = Field(default=15, ge=5, le=1440)
    """How long EMR may look for Spot capacity before it buys on demand."""

    @property
    def fleets(self) -> dict[str, Fleet]:
        """Return the fleets that there are, by EMR's own names."""
        asked = {"MASTER": self.primary, "CORE": self.core, "TASK": self.task}
        return {kind: fleet for kind, fleet in asked.items() if fleet}

    @property
    def planned_minutes(self) -> float:
        """Return what a run is expected to take."""
        return self.expected_minutes or self.minutes * EXPECTED_SHARE_OF_LIMIT

    @model_validator(mode="after")
    def _is_one_architecture(self) -> Shape:
        for kind, fleet in self.fleets.items():
            other = [t for t in fleet.instance_types if architecture_of(t) != self.architecture]
            if other:
                message = (
                    f"{kind.lower()} fleet: expected {self.architecture} instances only, found "
                    f"{', '.join(other)}; set `architecture` or take other types"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _survives_spot(self) -> Shape:
        """Keep the nodes whose loss ends the work on demand; EMR wants exactly one primary."""
        weights = set(self.primary.instance_types.values())
        if (self.primary.on_demand, self.primary.spot, weights) != (1, 0, {1}):
            message = "the primary fleet is one instance on demand: on_demand 1, spot 0, weights 1"
            raise ValueError(message)
        if self.core and self.core.spot:
            message = "core nodes hold HDFS and shuffle files: buy spot capacity in `task` instead"
            raise ValueError(message)
        if self.task and not self.core:
            message = "EMR adds task nodes to core nodes only: the shape needs a core fleet"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _ends_in_time(self) -> Shape:
        if self.expected_minutes and self.expected_minutes > self.minutes:
            message = (
                f"expected_minutes {self.expected_minutes:g} is beyond the limit of "
                f"{self.minutes:g} minutes"
            )
            raise ValueError(message)
        return self

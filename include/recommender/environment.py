"""Load the environment: where data lives, and what clusters look like. Typed, no secrets.

One YAML file per environment (``include/config/environments``); ``RECSYS_ENVIRONMENT`` names it.
Nothing here says whether the AWS behind the URIs is real: boto3's own variables do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from recommender.config import Settings, parse
from recommender.errors import ConfigError
from recommender.locations import Locations

ENVIRONMENT_VARIABLE = "RECSYS_ENVIRONMENT"
CONFIG_DIRECTORY_VARIABLE = "RECSYS_CONFIG_DIR"


class Fleet(Settings):
    """Describe one instance fleet: interchangeable types and how much of them."""

    instance_types: dict[str, int]
    """Instance type -> weighted capacity, all of one processor architecture."""

    on_demand: int = Field(default=0, ge=0)
    """Units of capacity bought on demand."""

    spot: int = Field(default=0, ge=0)
    """Units of capacity bought on the Spot market."""

    disk_gb: int = Field(default=64, ge=10)
    """EBS gp3 volume of every instance."""

    @model_validator(mode="after")
    def _has_capacity(self) -> Fleet:
        if not self.instance_types or self.on_demand + self.spot == 0:
            message = "a fleet needs instance_types and on_demand or spot capacity"
            raise ValueError(message)
        return self


class Shape(Settings):
    """Describe a cluster for one kind of work."""

    primary: Fleet
    core: Fleet | None = None
    task: Fleet | None = None

    minutes: float = Field(gt=0)
    """Time limit of the stage, cluster start included; beyond it the cluster is terminated."""

    spark_master: Literal["yarn", "local[*]"] = "yarn"
    """Where Spark runs: on the cluster, or inside the primary for single-machine training."""

    driver_memory: str = "4g"
    """Heap of the Spark driver; single-machine training needs little, its memory is Python's."""

    provisioning_minutes: int = Field(default=15, ge=5, le=1440)
    """How long EMR may look for capacity before it buys on demand (Spot) or gives up."""


class Emr(Settings):
    """Say how clusters are started."""

    region: str
    release_label: str = "emr-7.14.0"
    python: str = "/usr/bin/python3.11"
    """Interpreter on the nodes; their default is 3.9."""

    service_role: str = "EMR_DefaultRole_V2"
    instance_profile: str = "EMR_EC2_DefaultRole"
    subnets: tuple[str, ...] = ()
    security_configuration: str | None = None
    wheelhouse: str | None = None
    """S3 prefix of the wheels that the bootstrap installs; null where nodes have them."""

    idle_timeout_seconds: int = Field(default=600, ge=60, le=604800)
    """Auto-termination, the net below keep-alive off."""

    poll_seconds: float = Field(default=30, gt=0)
    """Pause between two looks at a cluster; EMR throttles callers that hurry."""

    tags: dict[str, str] = Field(default_factory=dict)
    shapes: dict[str, Shape]


class Environment(Settings):
    """Hold the three roots and the EMR settings."""

    name: str
    lake: str
    work: str
    models: str
    max_active_runs: int = Field(default=2, ge=1)
    """Runs of one DAG at a time: each holds a cluster."""

    emr: Emr

    @property
    def locations(self) -> Locations:
        """Return the layout below the three roots."""
        return Locations(self.lake, self.work, self.models)

    def shape(self, name: str) -> Shape:
        """Return a cluster shape.

        Raises:
            ConfigError: the environment has no shape of that name.
        """
        if name not in self.emr.shapes:
            known = ", ".join(sorted(self.emr.shapes))
            message = f"environment {self.name}: no cluster shape {name!r}; known: {known}"
            raise ConfigError(message)
        return self.emr.shapes[name]


def config_directory() -> Path:
    """Return the folder of the configuration files."""
    default = Path(__file__).resolve().parent.parent / "config"
    return Path(os.environ.get(CONFIG_DIRECTORY_VARIABLE, default))


def load(name: str | None = None) -> Environment:
    """Read the environment that is named, or that ``RECSYS_ENVIRONMENT`` names (``local``).

    Raises:
        ConfigError: there is no such file, or something in it is wrong.
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE, "local")
    path = config_directory() / "environments" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        message = f"{ENVIRONMENT_VARIABLE}={name}: no file {path}; known environments: {known}"
        raise ConfigError(message)
    return parse(Environment, yaml.safe_load(path.read_text()), str(path))


def recommender_files() -> list[Path]:
    """List the configuration files of all recommenders, by name."""
    return sorted((config_directory() / "recommenders").glob("*.yaml"))

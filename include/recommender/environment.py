"""Load the environment: where data lives, and what clusters look like. Typed, no secrets.

One YAML file per environment (``include/config/environments``); ``RECSYS_ENVIRONMENT`` names it.
Nothing here leads to another AWS: boto3's own variables do. ``simulated`` only labels prices.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from pydantic import Field, model_validator

from recommender.clusters.shapes import Fleet, Shape
from recommender.config import parse
from recommender.errors import ConfigError
from recommender.locations import Locations
from recommender.settings import Settings

__all__ = ["Emr", "Environment", "Fleet", "Shape", "config_directory", "load", "recommender_files"]

ENVIRONMENT_VARIABLE = "RECSYS_ENVIRONMENT"
CONFIG_DIRECTORY_VARIABLE = "RECSYS_CONFIG_DIR"


class Emr(Settings):
    """Say how clusters are started."""

    region: str
    account: str | None = Field(default=None, pattern=r"^\d{12}$")
    """AWS account id, for the IAM policies; quote it in YAML, it may begin with a zero."""

    release_label: str = Field(default="emr-7.14.0", pattern=r"^emr-(spark-)?\d+\.\d+\.\d+$")
    """EMR release; ``emr-spark-8.1.0`` is the line with Spark 4."""

    python: str = "/usr/bin/python3.11"
    """Interpreter on the nodes; their default is 3.9."""

    service_role: str = "EMR_DefaultRole_V2"
    """Role with which EMR itself acts."""

    instance_profile: str = "EMR_EC2_DefaultRole"
    """Instance profile of the nodes; its role has the same name."""

    runtime_role: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")
    """Role of the steps alone, so that the nodes need no data; null: they use the nodes' role."""

    subnets: tuple[str, ...] = ()
    """Private subnets to choose from; EMR takes the one where the instance types are to be had."""

    security_configuration: str | None = None
    """EMR security configuration: encryption, IMDSv2, and roles for steps if ``runtime_role``."""

    log_kms_key: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:kms:.+:key/.+$")
    """KMS key for EMR's logs; null leaves them to the bucket's own encryption."""

    wheelhouse: str | None = None
    """S3 prefix of the wheels that the bootstrap installs; null where nodes have them."""

    idle_timeout_seconds: int = Field(default=600, ge=60, le=604800)
    """Auto-termination, the net below keep-alive off."""

    poll_seconds: float = Field(default=60, gt=0)
    """Pause between two looks at a cluster; EMR throttles callers that hurry."""

    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of every cluster, beside those that say whose it is."""

    shapes: dict[str, Shape]
    """Name -> cluster for one kind of work; a recommender's ``clusters`` names two of them."""

    @model_validator(mode="after")
    def _roles_for_steps_are_switched_on(self) -> Emr:
        if self.runtime_role and not self.security_configuration:
            message = (
                "runtime_role needs a security_configuration in which "
                "EnableApplicationScopedIAMRole is true: EMR refuses it otherwise"
            )
            raise ValueError(message)
        return self


class Environment(Settings):
    """Hold the three roots and the EMR settings."""

    name: str
    lake: str
    work: str
    models: str
    max_active_runs: int = Field(default=2, ge=1)
    """Runs of one DAG at a time: each holds a cluster."""

    simulated: bool = False
    """Whether clusters are played by an embedded AWS, so that a price is what they would cost."""

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

"""Cluster shapes: what EMR would refuse, or what would cost a night, is refused on load."""

from __future__ import annotations

from typing import Any

import pytest

from recommender import environment
from recommender.clusters.shapes import Shape, architecture_of
from recommender.config import parse
from recommender.environment import Emr, Environment
from recommender.errors import ConfigError

PRIMARY = {"instance_types": {"m5.xlarge": 1}, "on_demand": 1}
CORE = {"instance_types": {"m5.xlarge": 1, "r5.xlarge": 1}, "on_demand": 2}


def shape(**changes: Any) -> Shape:
    return parse(Shape, {"primary": PRIMARY, "minutes": 60, **changes}, "test.yaml")


@pytest.mark.parametrize(
    ("instance_type", "architecture"),
    [
        ("m5.xlarge", "x86_64"),
        ("m6a.large", "x86_64"),
        ("r7iz.2xlarge", "x86_64"),
        ("g4dn.xlarge", "x86_64"),  # the series g is GPUs, not Graviton
        ("m7i-flex.large", "x86_64"),
        ("m6g.xlarge", "arm64"),
        ("r7gd.4xlarge", "arm64"),
        ("c6gn.16xlarge", "arm64"),
        ("im4gn.large", "arm64"),
        ("g5g.xlarge", "arm64"),
        ("a1.medium", "arm64"),
    ],
)
def test_the_name_of_a_type_states_its_processor(instance_type: str, architecture: str) -> None:
    assert architecture_of(instance_type) == architecture


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"architecture": "arm64"}, "master fleet: expected arm64 instances only"),
        ({"core": {**CORE, "instance_types": {"m6g.xlarge": 1}}}, "core fleet: expected x86_64"),
        ({"primary": {**PRIMARY, "on_demand": 2}}, "one instance on demand"),
        ({"primary": {**PRIMARY, "on_demand": 0, "spot": 1}}, "one instance on demand"),
        ({"core": {**CORE, "spot": 2}}, "buy spot capacity in `task`"),
        ({"task": {**CORE, "on_demand": 0, "spot": 2}}, "the shape needs a core fleet"),
        ({"core": {**CORE, "on_demand": 0}}, "needs on_demand or spot capacity"),
        ({"core": {**CORE, "instance_types": {}}}, "at least 1 item"),
        ({"core": {**CORE, "instance_types": {"big": 1}}}, "expected an EC2 instance type"),
        ({"core": {**CORE, "instance_types": {"m5.xlarge": 0}}}, "weighted capacity of 1 or more"),
        ({"expected_minutes": 61}, "beyond the limit of 60 minutes"),
        ({"driver_memory": "4 GB"}, "driver_memory"),
        ({"provisioning_minutes": 4}, "provisioning_minutes"),
        ({"core": {**CORE, "spot_allocation": "cheapest"}}, "spot_allocation"),
        ({"instance_fleets": {}}, "unknown key"),
    ],
)
def test_a_wrong_shape_is_refused_on_load(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        shape(**changes)


def test_a_right_shape_names_its_fleets() -> None:
    task = {"instance_types": {"m5.xlarge": 1}, "spot": 2}
    assert list(shape(core=CORE, task=task).fleets) == ["MASTER", "CORE", "TASK"]
    assert list(shape().fleets) == ["MASTER"]


def test_an_unmeasured_stage_is_expected_to_take_half_of_its_limit() -> None:
    assert shape().planned_minutes == 30
    assert shape(expected_minutes=12).planned_minutes == 12


@pytest.mark.parametrize("name", ["aws", "local"])
def test_both_environments_have_the_three_shapes(name: str) -> None:
    env = environment.load(name)
    assert set(env.emr.shapes) == {"preprocessing", "single_node", "distributed"}
    with pytest.raises(ConfigError, match="no cluster shape 'gpu'; known: distributed"):
        env.shape("gpu")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"runtime_role": "arn:aws:iam::000000000000:role/x"}, "needs a security_configuration"),
        ({"runtime_role": "x"}, "runtime_role"),
        ({"account": "12"}, "account"),
        ({"release_label": "7.14.0"}, "release_label"),
        ({"log_kms_key": "alias/logs"}, "log_kms_key"),
    ],
)
def test_wrong_emr_settings_are_refused_on_load(changes: dict[str, Any], complaint: str) -> None:
    document = environment.load("aws").emr.model_dump()
    with pytest.raises(ConfigError, match=complaint):
        parse(Emr, {**document, **changes}, "test.yaml")


def test_an_unknown_environment_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known environments: aws, local"):
        environment.load("moon")


def test_loading_an_environment_needs_no_boto3() -> None:
    import subprocess
    import sys

    program = (
        "import sys\n"
        "from recommender import environment\n"
        "environment.load('aws')\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_environment_is_frozen() -> None:
    env: Environment = environment.load("aws")
    with pytest.raises(ValueError, match="frozen"):
        env.name = "other"  # type: ignore[misc]  # what the test is about

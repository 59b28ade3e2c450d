"""What another attempt asks for and how long it waits."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from recommender import environment
from recommender.clusters.staging import StagedCode
from recsys_emr import pace, retry
from recsys_emr.failures import Kind
from recsys_emr.job_flow import Stage, Step, run_job_flow
from recsys_emr.validation import check_request


@pytest.fixture
def request_(env_aws: environment.Environment) -> dict[str, Any]:
    owner = Stage("retrain_shop", "manual__1", "preprocess")
    code = StagedCode("s3://work/code/0", "0")
    shape = env_aws.shape("preprocessing")
    return run_job_flow(env_aws, shape, owner, code, [Step("preprocess", [])])


@pytest.fixture
def env_aws() -> environment.Environment:
    return environment.load("aws")


def fleets(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f["InstanceFleetType"]: f for f in request["Instances"]["InstanceFleets"]}


def types(fleet: dict[str, Any]) -> list[str]:
    return [config["InstanceType"] for config in fleet["InstanceTypeConfigs"]]


@pytest.mark.parametrize("kind", [Kind.CAPACITY, Kind.SPOT_LOSS])
def test_another_attempt_buys_on_demand_as_much_as_before(
    request_: dict[str, Any], kind: Kind
) -> None:
    before, after = fleets(request_), fleets(retry.fallback(request_, 2, kind))
    assert before["TASK"]["TargetSpotCapacity"] > 0
    for name, fleet in after.items():
        bought = before[name]["TargetOnDemandCapacity"] + before[name]["TargetSpotCapacity"]
        assert fleet["TargetOnDemandCapacity"] == bought
        assert fleet["TargetSpotCapacity"] == 0
        assert "SpotSpecification" not in fleet.get("LaunchSpecifications", {})


def test_after_a_lack_of_capacity_the_next_types_come_first(request_: dict[str, Any]) -> None:
    before = fleets(request_)
    for attempt in (2, 3):
        for name, fleet in fleets(retry.fallback(request_, attempt, Kind.CAPACITY)).items():
            asked = types(before[name])
            place = (attempt - 1) % len(asked)
            assert types(fleet) == asked[place:] + asked[:place]
            assert [c["Priority"] for c in fleet["InstanceTypeConfigs"]] == [*range(len(asked))]
            strategy = fleet["LaunchSpecifications"]["OnDemandSpecification"]["AllocationStrategy"]
            assert strategy == "prioritized"


def test_after_a_loss_of_spot_the_types_stay_in_order(request_: dict[str, Any]) -> None:
    after = fleets(retry.fallback(request_, 2, Kind.SPOT_LOSS))
    assert {n: types(f) for n, f in after.items()} == {
        n: types(f) for n, f in fleets(request_).items()
    }


def test_a_throttled_attempt_asks_for_the_same_again(request_: dict[str, Any]) -> None:
    assert retry.fallback(request_, 2, Kind.THROTTLED, "subnet-1") == request_


@pytest.mark.parametrize(
    ("subnets", "lost", "left"),
    [
        (["subnet-a", "subnet-b"], "subnet-a", ["subnet-b"]),
        (["subnet-a", "subnet-b"], "", ["subnet-a", "subnet-b"]),
        (["subnet-a"], "subnet-a", ["subnet-a"]),  # better the same zone than none
    ],
)
def test_the_zone_that_had_none_is_left_out_where_there_is_a_choice(
    request_: dict[str, Any], subnets: list[str], lost: str, left: list[str]
) -> None:
    request_["Instances"]["Ec2SubnetIds"] = subnets
    changed = retry.fallback(request_, 2, Kind.CAPACITY, lost)
    assert changed["Instances"]["Ec2SubnetIds"] == left


@pytest.mark.parametrize("shape", ["preprocessing", "single_node", "distributed"])
@pytest.mark.parametrize("kind", sorted(retry.RETRYABLE))
def test_every_fallback_is_a_request_that_emr_takes(
    env_aws: environment.Environment, shape: str, kind: Kind
) -> None:
    owner = Stage("retrain_shop", "manual__1", "stage")
    code, steps = StagedCode("s3://work/code/0", "0"), [Step("train", [])]
    request = run_job_flow(env_aws, env_aws.shape(shape), owner, code, steps)
    untouched = copy.deepcopy(request)
    for attempt in (2, 3):
        check_request(retry.fallback(request, attempt, kind, "subnet-00000000000000000"))
    assert request == untouched


def test_the_pause_doubles_and_is_bounded() -> None:
    middle = [pace.back_off(n, 30, lambda low, high: (low + high) / 2) for n in range(1, 8)]
    assert middle == [60, 120, 240, 480, 600, 600, 600]


def test_the_pause_is_spread_by_half_to_both_sides() -> None:
    rng = random.Random(7)
    pauses = [pace.back_off(1, 30, rng.uniform) for _ in range(500)]
    assert 30 <= min(pauses) < 35
    assert 85 < max(pauses) <= 90


def test_the_pause_is_never_too_short_for_the_scheduler() -> None:
    assert pace.back_off(1, 0.001, lambda low, high: low) == 8


@pytest.mark.parametrize("kind", list(Kind))
def test_only_surroundings_get_another_attempt_and_not_for_ever(kind: Kind) -> None:
    assert retry.may_retry(kind, 1) is (kind in {Kind.CAPACITY, Kind.SPOT_LOSS, Kind.THROTTLED})
    assert not retry.may_retry(kind, retry.ATTEMPTS)

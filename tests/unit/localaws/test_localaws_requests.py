"""What RunJobFlow is refused for, and how what it asks for is shown."""

from typing import Any

import pytest
from moto.emr.exceptions import ValidationException

from localaws.emr_documents import ClusterDocument, StepDocument
from localaws.emr_instances import instance_groups, instances
from localaws.emr_job_flows import job_flow
from localaws.emr_validation import check_run_job_flow, has_three_primaries


def group(role: str, count: int, **fields: Any) -> dict[str, Any]:
    return {"InstanceRole": role, "InstanceCount": count, "InstanceType": "m5.xlarge", **fields}


def fleet(kind: str, on_demand: int, spot: int, weight: int) -> dict[str, Any]:
    types = [
        {"InstanceType": "r5.2xlarge", "WeightedCapacity": weight},
        {"InstanceType": "r5.4xlarge", "WeightedCapacity": 2 * weight},
    ]
    return {
        "InstanceFleetType": kind,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeConfigs": types,
    }


def cluster(instances: dict[str, Any], **fields: Any) -> ClusterDocument:
    request = {"Name": "c", "Instances": instances, **fields.pop("request", {})}
    return ClusterDocument(id="j-ABC", arn="arn", request=request, created=1.0, **fields)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"AmiVersion": "2.4", "ReleaseLabel": "emr-5.0.0"}, "Only one AMI version"),
        ({"CustomAmiId": "ami", "ReleaseLabel": "emr-5.6.9"}, "Custom AMI is not allowed"),
        ({"CustomAmiId": "ami", "AmiVersion": "3.8.1"}, "Custom AMI is not supported"),
        ({"StepConcurrencyLevel": 2}, "one step at a time"),
        ({"Instances": {"InstanceGroups": [group("MASTER", 2)]}}, "exactly 3 instances"),
        ({"Instances": {"InstanceGroups": [group("CORE", 1)]}}, "expected one MASTER"),
        (
            {
                "Instances": {
                    "InstanceGroups": [group("MASTER", 1)],
                    "MasterInstanceType": "m5.xlarge",
                }
            },
            "one way to ask for instances",
        ),
    ],
)
def test_contradictory_request_is_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationException, match=message):
        check_run_job_flow(request_)


@pytest.mark.parametrize("label", ["emr-5.7.0", "emr-7.14.0", "emr-spark-8.1.0"])
def test_custom_ami_is_taken_from_its_first_release_on(label: str) -> None:
    check_run_job_flow({"CustomAmiId": "ami", "ReleaseLabel": label})


def test_three_primaries_are_a_highly_available_cluster() -> None:
    assert has_three_primaries({"InstanceGroups": [group("MASTER", 3)]})
    assert not has_three_primaries({"InstanceGroups": [group("MASTER", 1), group("CORE", 3)]})
    assert not has_three_primaries({"MasterInstanceType": "m5.xlarge", "InstanceCount": 3})


def test_each_node_of_the_groups_is_listed_primary_first() -> None:
    asked = [group("CORE", 2, Market="SPOT"), group("MASTER", 1)]
    found = instances(cluster({"InstanceGroups": asked}))
    assert [node["Market"] for node in found] == ["ON_DEMAND", "SPOT", "SPOT"]
    assert found[0]["Ec2InstanceId"] == "i-abc"
    assert len({node["Id"] for node in found}) == len({n["Ec2InstanceId"] for n in found}) == 3
    core = instances(cluster({"InstanceGroups": asked}), ["CORE"])
    assert core == found[1:]


def test_fleet_is_fulfilled_with_as_many_instances_as_its_capacity_needs() -> None:
    fleets = [fleet("MASTER", 1, 0, 1), fleet("TASK", 3, 8, 4)]
    found = instances(cluster({"InstanceFleets": fleets}))
    assert [node["Market"] for node in found] == ["ON_DEMAND", "ON_DEMAND", "SPOT", "SPOT"]
    assert {node["InstanceType"] for node in found} == {"r5.2xlarge"}
    assert found[0]["InstanceFleetId"] != found[1]["InstanceFleetId"]


def test_volumes_of_a_group_are_listed_one_by_one() -> None:
    volume = {"VolumeType": "gp3", "SizeInGB": 64}
    configs = [{"VolumeSpecification": volume, "VolumesPerInstance": 2}]
    asked = group("MASTER", 1, BidPrice="0.05", EbsConfiguration={"EbsBlockDeviceConfigs": configs})
    found = instance_groups(cluster({"InstanceGroups": [asked]}))[0]
    assert found["BidPrice"] == "0.05"
    assert [device["Device"] for device in found["EbsBlockDevices"]] == ["/dev/sdb", "/dev/sdc"]
    assert all(device["VolumeSpecification"] == volume for device in found["EbsBlockDevices"])


@pytest.mark.parametrize(
    ("state", "reason", "older"),
    [
        ("WAITING", "", "WAITING"),
        ("TERMINATING", "USER_REQUEST", "SHUTTING_DOWN"),
        ("TERMINATED", "USER_REQUEST", "TERMINATED"),
        ("TERMINATED", "ALL_STEPS_COMPLETED", "COMPLETED"),
        ("TERMINATED_WITH_ERRORS", "STEP_FAILURE", "FAILED"),
    ],
)
def test_older_description_has_the_older_names_of_the_states(
    state: str, reason: str, older: str
) -> None:
    step = StepDocument(id="s", request={"Name": "s", "HadoopJarStep": {"Jar": "j"}}, created=1.0)
    asked = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 3}
    found = job_flow(cluster(asked, state=state, reason_code=reason, steps=[step]))
    assert found["ExecutionStatusDetail"]["State"] == older
    assert found["Instances"]["InstanceCount"] == 3
    assert found["Steps"][0]["ExecutionStatusDetail"]["State"] == "PENDING"

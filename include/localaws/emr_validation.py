"""Refuse the RunJobFlow requests that EMR refuses, in its words where they are known."""

from typing import NoReturn

from moto.emr.exceptions import ValidationException
from moto.emr.utils import ReleaseLabel

from localaws.emr_documents import Json

# AWS's limits for AutoTerminationPolicy, in seconds.
IDLE_SECONDS = (60, 604_800)
# The first release that takes a CustomAmiId.
_CUSTOM_AMI = "emr-5.7.0"


def refuse(message: str) -> NoReturn:
    """Raise EMR's ValidationException."""
    raise ValidationException(message)


def check_run_job_flow(request: Json) -> None:
    """Refuse a request that contradicts itself, or asks for what is not to be had here.

    Raises:
        ValidationException: it does.
    """
    _check_release(request)
    _check_instances(request.get("Instances") or {})
    if request.get("StepConcurrencyLevel") not in {None, 1}:
        refuse("the embedded EMR runs one step at a time: StepConcurrencyLevel must be 1")


def has_three_primaries(instances: Json) -> bool:
    """Tell whether Instances ask for a highly available cluster."""
    return any(
        group["InstanceRole"] == "MASTER" and group["InstanceCount"] == 3
        for group in instances.get("InstanceGroups") or []
    )


def idle_timeout(policy: Json) -> int:
    """Return an AutoTerminationPolicy's seconds."""
    seconds = int(policy.get("IdleTimeout") or 0)
    low, high = IDLE_SECONDS
    if not low <= seconds <= high:
        refuse(f"IdleTimeout must be {low} to {high} seconds, found {seconds}")
    return seconds


def _check_release(request: Json) -> None:
    ami, label = request.get("AmiVersion"), request.get("ReleaseLabel")
    if ami and label:
        refuse(
            "Only one AMI version and release label may be specified. "
            f"Provided AMI: {ami}, release label: {label}."
        )
    if request.get("CustomAmiId") and ami:
        refuse("Custom AMI is not supported in this version of EMR")
    if request.get("CustomAmiId") and label and _is_before(label, _CUSTOM_AMI):
        refuse("Custom AMI is not allowed")


def _is_before(label: str, other: str) -> bool:
    """Compare releases; emr-spark-8.x and whatever comes after it count as later."""
    try:
        return bool(ReleaseLabel(label) < ReleaseLabel(other))
    except ValueError:
        return False


def _check_instances(instances: Json) -> None:
    kinds = [
        name
        for name, given in (
            ("InstanceGroups", instances.get("InstanceGroups")),
            ("InstanceFleets", instances.get("InstanceFleets")),
            ("MasterInstanceType", instances.get("MasterInstanceType")),
        )
        if given
    ]
    if len(kinds) > 1:
        refuse(f"expected one way to ask for instances, found {', '.join(kinds)}")
    for name, role in (("InstanceGroups", "InstanceRole"), ("InstanceFleets", "InstanceFleetType")):
        roles = [entry.get(role) for entry in instances.get(name) or []]
        if roles and roles.count("MASTER") != 1:
            refuse(f"expected one MASTER in {name}, found {roles.count('MASTER')}")
    for group in instances.get("InstanceGroups") or []:
        if group["InstanceRole"] == "MASTER" and group["InstanceCount"] not in {1, 3}:
            refuse("Master instance group must have exactly 3 instances for HA clusters.")

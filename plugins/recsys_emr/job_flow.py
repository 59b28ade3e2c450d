"""Build the RunJobFlow request of a stage: pure data, the same for any AWS behind it.

The cluster's life belongs to AWS: its steps travel in the request, keep-alive is off, a failed
step terminates it, and an idle time-out is the net below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recommender.clusters import staging
from recommender.clusters.staging import StagedCode
from recommender.environment import Emr, Environment, Fleet, Shape
from recommender.locations import Locations
from recsys_emr.validation import check_request

CODE_HASH = "RECSYS_CODE_HASH"  # the jobs put it into the lineage of what they write
# On the volume that the fleet's disk_gb buys; /tmp is on the nodes' root volume of 15 GB, which the
# system shares.
SCRATCH = "/mnt/tmp"
TAG_DAG = "recsys:dag"
TAG_RUN = "recsys:run"
TAG_STAGE = "recsys:stage"


@dataclass(frozen=True)
class Step:
    """Name one job of a stage and the arguments of its command line."""

    job: str
    arguments: Sequence[str]


@dataclass(frozen=True)
class Stage:
    """Say whose cluster it is: one DAG run, one stage."""

    dag_id: str
    run_id: str
    name: str

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags by which a cluster is found again and swept."""
        return {TAG_DAG: self.dag_id, TAG_RUN: self.run_id, TAG_STAGE: self.name}

    @property
    def cluster_name(self) -> str:
        """Return a name that a person finds in the console; EMR allows 256 characters."""
        return f"{self.dag_id}/{self.name}/{self.run_id}"[:256]


def run_job_flow(
    environment: Environment, shape: Shape, stage: Stage, code: StagedCode, steps: Sequence[Step]
) -> dict[str, Any]:
    """Return the RunJobFlow request that creates a cluster, runs the steps and ends.

    Raises:
        ConfigError: the API's own model does not accept it; nothing has been asked for yet.
    """
    emr = environment.emr
    request: dict[str, Any] = {
        "Name": stage.cluster_name,
        "ReleaseLabel": emr.release_label,
        "Applications": [{"Name": "Spark"}],
        "LogUri": Locations(environment.lake, environment.work, environment.models).emr_logs,
        "ServiceRole": emr.service_role,
        "JobFlowRole": emr.instance_profile,
        "VisibleToAllUsers": True,
        "StepConcurrencyLevel": 1,
        "AutoTerminationPolicy": {"IdleTimeout": _idle_seconds(emr, shape)},
        "Instances": _instances(emr, shape),
        "Configurations": _configurations(emr, code),
        "Steps": [_spark_step(shape, code, step) for step in steps],
        "Tags": _tags({**emr.tags, **stage.tags}),
    }
    if emr.wheelhouse:
        request["BootstrapActions"] = [_bootstrap(emr.python, emr.wheelhouse, code)]
    optional = {
        "SecurityConfiguration": emr.security_configuration,
        "StepExecutionRoleArn": emr.runtime_role,
        "LogEncryptionKmsKeyId": emr.log_kms_key,
    }
    request |= {name: value for name, value in optional.items() if value}
    check_request(request)
    return request


def _idle_seconds(emr: Emr, shape: Shape) -> int:
    """Return when EMR may take the cluster for idle, within the API's 1 minute to 7 days.

    EMR looks for YARN applications: training inside the primary is none, and would be terminated
    at work. For it the stage's own time limit is the net.
    """
    if shape.spark_master == "yarn":
        return emr.idle_timeout_seconds
    return min(604_800, max(emr.idle_timeout_seconds, int(shape.minutes * 60)))


def _instances(emr: Emr, shape: Shape) -> dict[str, Any]:
    instances: dict[str, Any] = {
        "KeepJobFlowAliveWhenNoSteps": False,
        "TerminationProtected": False,
        "InstanceFleets": [
            _fleet(kind, fleet, shape.provisioning_minutes) for kind, fleet in shape.fleets.items()
        ],
    }
    if emr.subnets:
        instances["Ec2SubnetIds"] = list(emr.subnets)
    return instances


def _fleet(kind: str, fleet: Fleet, provisioning_minutes: int) -> dict[str, Any]:
    request: dict[str, Any] = {
        "Name": kind.lower(),
        "InstanceFleetType": kind,
        "TargetOnDemandCapacity": fleet.on_demand,
        "TargetSpotCapacity": fleet.spot,
        "InstanceTypeConfigs": _types(fleet),
        "LaunchSpecifications": {
            "OnDemandSpecification": {"AllocationStrategy": fleet.on_demand_allocation}
        },
    }
    if fleet.spot:
        request["LaunchSpecifications"]["SpotSpecification"] = {
            "TimeoutDurationMinutes": provisioning_minutes,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            "AllocationStrategy": fleet.spot_allocation,
        }
    return request


def _types(fleet: Fleet) -> list[dict[str, Any]]:
    disk = {
        "VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": fleet.disk_gb},
        "VolumesPerInstance": 1,
    }
    types: list[dict[str, Any]] = [
        {
            "InstanceType": name,
            "WeightedCapacity": weight,
            "EbsConfiguration": {"EbsBlockDeviceConfigs": [disk]},
        }
        for name, weight in fleet.instance_types.items()
    ]
    if fleet.on_demand_allocation == "prioritized":
        for priority, entry in enumerate(types):  # the lowest number is taken first
            entry["Priority"] = float(priority)
    return types


def _configurations(emr: Emr, code: StagedCode) -> list[dict[str, Any]]:
    """Point every Spark process at one Python, and tell the jobs which code they are and where there is room.

    EMR's own default Python is older than the code.
    """
    python = emr.python
    exported = {CODE_HASH: code.content_hash}
    if emr.wheelhouse:  # only the bootstrap sees to it that the directory is there
        exported["TMPDIR"] = SCRATCH
    told = {"Classification": "export", "Properties": exported}
    return [
        {"Classification": "spark-env", "Configurations": [told], "Properties": {}},
        {
            "Classification": "spark-defaults",
            "Properties": {
                "spark.pyspark.python": python,
                "spark.pyspark.driver.python": python,
                "spark.yarn.appMasterEnv.PYSPARK_PYTHON": python,
                "spark.executorEnv.PYSPARK_PYTHON": python,
            },
        },
    ]


def _spark_step(shape: Shape, code: StagedCode, step: Step) -> dict[str, Any]:
    """Return a step that runs one job; spark-submit fetches the code from S3 by itself.

    Client mode on purpose: the driver's traceback then lands in the step's own stderr.
    """
    submit = ["spark-submit", "--deploy-mode", "client", "--master", shape.spark_master]
    submit += ["--driver-memory", shape.driver_memory]
    submit += ["--py-files", code.file(staging.PACKAGE), code.file(staging.ENTRY_POINT)]
    return {
        "Name": step.job,
        "ActionOnFailure": "TERMINATE_CLUSTER",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [*submit, step.job, "--config", code.file(staging.CONFIG), *step.arguments],
        },
    }


def _bootstrap(python: str, wheelhouse: str, code: StagedCode) -> dict[str, Any]:
    script = {
        "Path": code.file(staging.BOOTSTRAP),
        "Args": [python, wheelhouse, code.file(staging.NODE_REQUIREMENTS)],
    }
    return {"Name": "install the pinned Python packages", "ScriptBootstrapAction": script}


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value[:256]} for key, value in sorted(tags.items())]

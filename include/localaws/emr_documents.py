"""The state of EMR clusters and steps: plain documents, stored as JSON and shown in AWS's shapes."""

import json
import secrets
import string
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CLUSTER_DONE = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
CLUSTER_ENDING = CLUSTER_DONE | {"TERMINATING"}
STEP_DONE = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})

# The one availability zone there is.
ZONE = "us-east-1a"

Json = dict[str, Any]


def new_id(prefix: str) -> str:
    """Return an identifier such as EMR makes: the prefix and 13 letters or digits."""
    alphabet = string.ascii_uppercase + string.digits
    return f"{prefix}-{''.join(secrets.choice(alphabet) for _ in range(13))}"


def moment(seconds: float | None) -> datetime | None:
    """Turn stored seconds into what the wire wants."""
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)


@dataclass
class StepDocument:
    """One step: its request as sent, and what became of it. Times are seconds since the epoch."""

    id: str
    request: Json
    created: float
    state: str = "PENDING"
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    failure: dict[str, str] = field(default_factory=dict)

    @property
    def jar(self) -> str:
        """Return the jar to run."""
        return str(self.request["HadoopJarStep"]["Jar"])

    @property
    def args(self) -> list[str]:
        """Return the jar's arguments."""
        return list(self.request["HadoopJarStep"].get("Args") or [])

    @property
    def action_on_failure(self) -> str:
        """Return TERMINATE_CLUSTER, CANCEL_AND_WAIT or CONTINUE; EMR's default is CONTINUE."""
        action = str(self.request.get("ActionOnFailure") or "CONTINUE")
        return "TERMINATE_CLUSTER" if action == "TERMINATE_JOB_FLOW" else action

    def shape(self) -> Json:
        """Return DescribeStep's Step."""
        source = self.request["HadoopJarStep"]
        config: Json = {"Jar": self.jar, "Args": self.args}
        config["Properties"] = {p["Key"]: p["Value"] for p in source.get("Properties") or []}
        if source.get("MainClass"):
            config["MainClass"] = source["MainClass"]
        status: Json = {
            "State": self.state,
            "StateChangeReason": {"Message": self.reason} if self.reason else {},
            "Timeline": {
                "CreationDateTime": moment(self.created),
                "StartDateTime": moment(self.started),
                "EndDateTime": moment(self.ended),
            },
        }
        if self.failure:
            status["FailureDetails"] = dict(self.failure)
        role = self.request.get("ExecutionRoleArn")
        return {
            **({"ExecutionRoleArn": role} if role else {}),
            "Id": self.id,
            "Name": self.request["Name"],
            "Config": config,
            "ActionOnFailure": self.action_on_failure,
            "Status": status,
        }


@dataclass
class ClusterDocument:
    """One cluster: its RunJobFlow request as sent, and what became of it."""

    id: str
    arn: str
    request: Json
    created: float
    state: str = "STARTING"
    ready: float | None = None
    ended: float | None = None
    reason_code: str = ""
    reason: str = ""
    errors: list[Json] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    termination_protected: bool = False
    keep_alive: bool = False
    visible: bool = True
    step_concurrency: int = 1
    idle_timeout: int | None = None
    steps: list[StepDocument] = field(default_factory=list)

    @property
    def log_uri(self) -> str:
        """Return where logs go, without a slash at the end; empty when none was asked for."""
        return str(self.request.get("LogUri") or "").rstrip("/")

    @property
    def primary_instance(self) -> str:
        """Return the primary node's instance id, derived from the cluster's."""
        return f"i-{self.id[2:].lower()}"

    def status(self) -> Json:
        """Return the Status of DescribeCluster and ListClusters."""
        reason = {"Code": self.reason_code, "Message": self.reason} if self.reason_code else {}
        return {
            "State": self.state,
            "StateChangeReason": reason,
            "Timeline": {
                "CreationDateTime": moment(self.created),
                "ReadyDateTime": moment(self.ready),
                "EndDateTime": moment(self.ended),
            },
            "ErrorDetails": self.errors,
        }

    def summary(self) -> Json:
        """Return an entry of ListClusters."""
        return {
            "Id": self.id,
            "Name": self.request["Name"],
            "Status": self.status(),
            "NormalizedInstanceHours": 0,
            "ClusterArn": self.arn,
        }

    def shape(self) -> Json:
        """Return DescribeCluster's Cluster."""
        instances = self.request.get("Instances") or {}
        copied: tuple[str, ...] = (
            "LogUri",
            "ReleaseLabel",
            "Configurations",
            "ServiceRole",
            "AutoScalingRole",
        )
        copied += ("SecurityConfiguration", "CustomAmiId", "EbsRootVolumeSize", "ScaleDownBehavior")
        copied += ("OSReleaseLabel", "PlacementGroups", "KerberosAttributes", "RepoUpgradeOnBoot")
        copied += ("EbsRootVolumeIops", "EbsRootVolumeThroughput", "LogEncryptionKmsKeyId")
        return {
            **self.summary(),
            **{name: self.request[name] for name in copied if self.request.get(name) is not None},
            "Applications": self.request.get("Applications") or [],
            "AutoTerminate": not self.keep_alive,
            "TerminationProtected": self.termination_protected,
            "VisibleToAllUsers": self.visible,
            "StepConcurrencyLevel": self.step_concurrency,
            "InstanceCollectionType": (
                "INSTANCE_FLEET" if instances.get("InstanceFleets") else "INSTANCE_GROUP"
            ),
            "MasterPublicDnsName": "localhost",
            "Ec2InstanceAttributes": self._instance_attributes(instances),
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }

    def _instance_attributes(self, instances: Json) -> Json:
        names: tuple[str, ...] = ("Ec2KeyName", "Ec2SubnetId", "EmrManagedMasterSecurityGroup")
        names += ("EmrManagedSlaveSecurityGroup", "ServiceAccessSecurityGroup")
        names += ("AdditionalMasterSecurityGroups", "AdditionalSlaveSecurityGroups")
        attributes = {name: instances[name] for name in names if instances.get(name)}
        zone = (instances.get("Placement") or {}).get("AvailabilityZone")
        attributes["Ec2AvailabilityZone"] = zone or ZONE
        if instances.get("Ec2SubnetIds"):
            attributes["RequestedEc2SubnetIds"] = instances["Ec2SubnetIds"]
            attributes.setdefault("Ec2SubnetId", instances["Ec2SubnetIds"][0])
        if self.request.get("JobFlowRole"):
            attributes["IamInstanceProfile"] = self.request["JobFlowRole"]
        return attributes


class ClusterFiles:
    """Cluster documents as one JSON file each, so that a restart can still describe them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, cluster: ClusterDocument) -> None:
        """Write a document by rename: a reader never sees half of one."""
        path = self._directory / f"{cluster.id}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(cluster), indent=1, default=str), encoding="utf-8")
        draft.replace(path)

    def load(self) -> Iterator[ClusterDocument]:
        """Yield the documents of earlier processes, oldest first."""
        found = []
        for path in self._directory.glob("*.json"):
            document = json.loads(path.read_text(encoding="utf-8"))
            steps = [StepDocument(**step) for step in document.pop("steps")]
            found.append(ClusterDocument(**document, steps=steps))
        yield from sorted(found, key=lambda cluster: cluster.created)


def interrupt(cluster: ClusterDocument, now: float) -> None:
    """Mark a cluster that a dead process left running."""
    cluster.state = "TERMINATED_WITH_ERRORS"
    cluster.reason_code = "INTERNAL_ERROR"
    cluster.reason = "The embedded AWS was restarted while this cluster ran: start the run again"
    cluster.ended = now
    for step in cluster.steps:
        if step.state not in STEP_DONE:
            step.state = "CANCELLED" if step.started is None else "INTERRUPTED"
            step.reason = cluster.reason
            step.ended = now

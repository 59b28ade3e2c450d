"""Show clusters in the shapes of DescribeJobFlows, which EMR deprecated and old clients still call."""

from localaws.emr_documents import ClusterDocument, Json, StepDocument, moment
from localaws.emr_instances import instance_groups

# What the older API calls the states that it names differently.
_STATES = {"TERMINATING": "SHUTTING_DOWN", "TERMINATED_WITH_ERRORS": "FAILED"}
_STEP_STATES = {"CANCEL_PENDING": "RUNNING"}


def job_flow(cluster: ClusterDocument) -> Json:
    """Return a JobFlowDetail."""
    copied: tuple[str, ...] = (
        "Name",
        "LogUri",
        "LogEncryptionKmsKeyId",
        "AmiVersion",
        "JobFlowRole",
        "ServiceRole",
    )
    copied += ("AutoScalingRole", "ScaleDownBehavior")
    return {
        **{name: cluster.request[name] for name in copied if cluster.request.get(name)},
        "JobFlowId": cluster.id,
        "ExecutionStatusDetail": _status(cluster),
        "Instances": _instances(cluster),
        "Steps": [_step(step) for step in cluster.steps],
        "BootstrapActions": [
            {"BootstrapActionConfig": action}
            for action in cluster.request.get("BootstrapActions") or []
        ],
        "SupportedProducts": [],
        "VisibleToAllUsers": cluster.visible,
    }


def _status(cluster: ClusterDocument) -> Json:
    completed = cluster.state == "TERMINATED" and cluster.reason_code == "ALL_STEPS_COMPLETED"
    status: Json = {
        "State": "COMPLETED" if completed else _STATES.get(cluster.state, cluster.state),
        "CreationDateTime": moment(cluster.created),
        "StartDateTime": moment(cluster.ready),
        "ReadyDateTime": moment(cluster.ready),
        "EndDateTime": moment(cluster.ended),
    }
    return {**status, "LastStateChangeReason": cluster.reason} if cluster.reason else status


def _instances(cluster: ClusterDocument) -> Json:
    asked = cluster.request.get("Instances") or {}
    copied: tuple[str, ...] = (
        "MasterInstanceType",
        "SlaveInstanceType",
        "Ec2KeyName",
        "Ec2SubnetId",
        "Placement",
    )
    copied += ("HadoopVersion", "UnhealthyNodeReplacement")
    groups = instance_groups(cluster)
    return {
        **{name: asked[name] for name in copied if asked.get(name)},
        "MasterPublicDnsName": "localhost",
        "MasterInstanceId": cluster.primary_instance,
        "InstanceCount": sum(group["RequestedInstanceCount"] for group in groups),
        "InstanceGroups": [_group(group) for group in groups],
        "NormalizedInstanceHours": 0,
        "KeepJobFlowAliveWhenNoSteps": cluster.keep_alive,
        "TerminationProtected": cluster.termination_protected,
    }


def _group(group: Json) -> Json:
    names = {
        "Id": "InstanceGroupId",
        "Name": "Name",
        "Market": "Market",
        "InstanceGroupType": "InstanceRole",
        "BidPrice": "BidPrice",
        "InstanceType": "InstanceType",
        "RequestedInstanceCount": "InstanceRequestCount",
        "RunningInstanceCount": "InstanceRunningCount",
    }
    times = group["Status"]["Timeline"]
    return {
        **{older: group[newer] for newer, older in names.items() if newer in group},
        **times,
        "StartDateTime": times["ReadyDateTime"],
        "State": group["Status"]["State"],
    }


def _step(step: StepDocument) -> Json:
    request = {name: value for name, value in step.request.items() if name != "ExecutionRoleArn"}
    return {
        "StepConfig": {**request, "ActionOnFailure": step.action_on_failure},
        "ExecutionStatusDetail": {
            "State": _STEP_STATES.get(step.state, step.state),
            "CreationDateTime": moment(step.created),
            "StartDateTime": moment(step.started),
            "EndDateTime": moment(step.ended),
        },
    }

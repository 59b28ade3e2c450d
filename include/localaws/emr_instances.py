"""Show a request's instance groups or fleets as EMR would once they are provisioned."""

from localaws.emr_documents import CLUSTER_DONE, ClusterDocument, Json, moment

_GROUP_NAMES = {"MASTER": "Primary", "CORE": "Core", "TASK": "Task"}


def instance_groups(cluster: ClusterDocument) -> list[Json]:
    """Return ListInstanceGroups' entries, from either way to ask for groups."""
    asked = cluster.request.get("Instances") or {}
    groups = asked.get("InstanceGroups") or _uniform_groups(asked)
    return [
        {
            "Id": f"ig-{cluster.id[2:]}{number}",
            "Name": group.get("Name") or _GROUP_NAMES.get(group["InstanceRole"], "Group"),
            "Market": group.get("Market") or "ON_DEMAND",
            "InstanceGroupType": group["InstanceRole"],
            "InstanceType": group["InstanceType"],
            "RequestedInstanceCount": group["InstanceCount"],
            "RunningInstanceCount": _provisioned(cluster, group["InstanceCount"]),
            "Status": _status(cluster),
            "Configurations": group.get("Configurations") or [],
        }
        for number, group in enumerate(groups, 1)
    ]


def instance_fleets(cluster: ClusterDocument) -> list[Json]:
    """Return ListInstanceFleets' entries."""
    fleets = (cluster.request.get("Instances") or {}).get("InstanceFleets") or []
    return [_fleet(cluster, fleet, number) for number, fleet in enumerate(fleets, 1)]


def instances(cluster: ClusterDocument) -> list[Json]:
    """Return ListInstances' one entry: this machine plays the primary node, there is no other."""
    groups, fleets = instance_groups(cluster), instance_fleets(cluster)
    instance: Json = {
        "Id": f"ci-{cluster.id[2:]}",
        "Ec2InstanceId": cluster.primary_instance,
        "PublicDnsName": "localhost",
        "PrivateDnsName": "localhost",
        "PrivateIpAddress": "127.0.0.1",
        "Market": "ON_DEMAND",
        "Status": _status(cluster),
    }
    for group in groups:
        if group["InstanceGroupType"] == "MASTER":
            instance |= {"InstanceGroupId": group["Id"], "InstanceType": group["InstanceType"]}
    for fleet in fleets:
        if fleet["InstanceFleetType"] == "MASTER":
            types = fleet["InstanceTypeSpecifications"]
            instance |= {"InstanceFleetId": fleet["Id"]}
            instance |= {"InstanceType": types[0]["InstanceType"]} if types else {}
    return [instance]


def wanted_capacity(request: Json) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return what a RunJobFlow request buys: (ON_DEMAND or SPOT, acceptable types) per group and fleet."""
    asked = request.get("Instances") or {}
    groups = asked.get("InstanceGroups") or _uniform_groups(asked)
    wanted = [
        (group.get("Market") or "ON_DEMAND", frozenset({group["InstanceType"]})) for group in groups
    ]
    for fleet in asked.get("InstanceFleets") or []:
        types = frozenset(c["InstanceType"] for c in fleet.get("InstanceTypeConfigs") or [])
        if fleet.get("TargetOnDemandCapacity"):
            wanted.append(("ON_DEMAND", types))
        if fleet.get("TargetSpotCapacity"):
            wanted.append(("SPOT", types))
    return tuple(wanted)


def _uniform_groups(asked: Json) -> list[Json]:
    """Translate MasterInstanceType, SlaveInstanceType and InstanceCount into groups."""
    if not asked.get("MasterInstanceType"):
        return []
    count = int(asked.get("InstanceCount") or 1)
    primary = {
        "InstanceRole": "MASTER",
        "InstanceType": asked["MasterInstanceType"],
        "InstanceCount": 1,
    }
    if count == 1:
        return [primary]
    core = asked.get("SlaveInstanceType") or asked["MasterInstanceType"]
    return [primary, {"InstanceRole": "CORE", "InstanceType": core, "InstanceCount": count - 1}]


def _fleet(cluster: ClusterDocument, fleet: Json, number: int) -> Json:
    on_demand = int(fleet.get("TargetOnDemandCapacity") or 0)
    spot = int(fleet.get("TargetSpotCapacity") or 0)
    shape = {
        "Id": f"if-{cluster.id[2:]}{number}",
        "Name": fleet.get("Name") or _GROUP_NAMES.get(fleet["InstanceFleetType"], "Fleet"),
        "InstanceFleetType": fleet["InstanceFleetType"],
        "Status": _status(cluster),
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "ProvisionedOnDemandCapacity": _provisioned(cluster, on_demand),
        "ProvisionedSpotCapacity": _provisioned(cluster, spot),
        "InstanceTypeSpecifications": fleet.get("InstanceTypeConfigs") or [],
    }
    if fleet.get("LaunchSpecifications"):
        shape["LaunchSpecifications"] = fleet["LaunchSpecifications"]
    return shape


def _provisioned(cluster: ClusterDocument, asked: int) -> int:
    return asked if cluster.ready is not None and cluster.state not in CLUSTER_DONE else 0


def _status(cluster: ClusterDocument) -> Json:
    """Return the state of a cluster's groups, fleets and instances, which follows the cluster's."""
    if cluster.state in CLUSTER_DONE:
        state = "TERMINATED"
    elif cluster.state == "STARTING":
        state = "PROVISIONING"
    else:
        state = "BOOTSTRAPPING" if cluster.state == "BOOTSTRAPPING" else "RUNNING"
    return {
        "State": state,
        "StateChangeReason": {},
        "Timeline": {
            "CreationDateTime": moment(cluster.created),
            "ReadyDateTime": moment(cluster.ready),
            "EndDateTime": moment(cluster.ended),
        },
    }

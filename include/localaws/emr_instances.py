"""Show a request's instance groups or fleets as EMR would once they are provisioned."""

from collections.abc import Iterable

from localaws.emr_documents import CLUSTER_DONE, ClusterDocument, Json, moment

_GROUP_NAMES = {"MASTER": "Primary", "CORE": "Core", "TASK": "Task"}


def instance_groups(cluster: ClusterDocument) -> list[Json]:
    """Return ListInstanceGroups' entries, from either way to ask for groups."""
    asked = cluster.request.get("Instances") or {}
    groups = asked.get("InstanceGroups") or _uniform_groups(asked)
    return [_group(cluster, group, number) for number, group in enumerate(groups, 1)]


def instance_fleets(cluster: ClusterDocument) -> list[Json]:
    """Return ListInstanceFleets' entries."""
    fleets = (cluster.request.get("Instances") or {}).get("InstanceFleets") or []
    return [_fleet(cluster, fleet, number) for number, fleet in enumerate(fleets, 1)]


def instances(cluster: ClusterDocument, kinds: Iterable[str] = ()) -> list[Json]:
    """Return ListInstances' entries; the primary, which this machine plays, comes first.

    Args:
        cluster: whose.
        kinds: MASTER, CORE, TASK; empty for all.
    """
    wanted = set(kinds)
    nodes = [node for group in instance_groups(cluster) for node in _nodes_of_group(group)]
    nodes += [node for fleet in instance_fleets(cluster) for node in _nodes_of_fleet(fleet)]
    nodes.sort(key=lambda node: node[0] != "MASTER")
    return [
        {
            "Id": f"ci-{cluster.id[2:]}{number:03x}",
            "Ec2InstanceId": f"{cluster.primary_instance}{number:03x}"
            if number
            else cluster.primary_instance,
            "PublicDnsName": "localhost",
            "PublicIpAddress": "127.0.0.1",
            "PrivateDnsName": "localhost",
            "PrivateIpAddress": "127.0.0.1",
            "Status": _status(cluster),
            **node,
        }
        for number, (kind, node) in enumerate(nodes)
        if not wanted or kind in wanted
    ]


def _nodes_of_group(group: Json) -> list[tuple[str, Json]]:
    node = {"InstanceGroupId": group["Id"], "InstanceType": group["InstanceType"]}
    node["Market"] = group["Market"]
    return [
        (group["InstanceGroupType"], dict(node)) for _ in range(group["RequestedInstanceCount"])
    ]


def _nodes_of_fleet(fleet: Json) -> list[tuple[str, Json]]:
    """Fulfil a fleet with its first type, as if that were always to be had."""
    first = (fleet["InstanceTypeSpecifications"] or [{}])[0]
    weight = int(first.get("WeightedCapacity") or 1)
    nodes = []
    for market, name in (("ON_DEMAND", "TargetOnDemandCapacity"), ("SPOT", "TargetSpotCapacity")):
        node = {"InstanceFleetId": fleet["Id"], "Market": market}
        node |= {"InstanceType": first["InstanceType"]} if first else {}
        nodes += [
            (fleet["InstanceFleetType"], dict(node)) for _ in range(-(-fleet[name] // weight))
        ]
    return nodes


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


def _group(cluster: ClusterDocument, group: Json, number: int) -> Json:
    shape = {
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
    if group.get("BidPrice"):
        shape["BidPrice"] = group["BidPrice"]
    ebs = group.get("EbsConfiguration") or {}
    if ebs:
        shape["EbsOptimized"] = bool(ebs.get("EbsOptimized"))
        shape["EbsBlockDevices"] = _block_devices(ebs)
    return shape


def _block_devices(ebs: Json) -> list[Json]:
    """Return one entry per volume, as EMR attaches them."""
    volumes = [
        config["VolumeSpecification"]
        for config in ebs.get("EbsBlockDeviceConfigs") or []
        for _ in range(config.get("VolumesPerInstance") or 1)
    ]
    return [
        {"Device": f"/dev/sd{letter}", "VolumeSpecification": volume}
        for letter, volume in zip("bcdefghijklmnopqrstuvwxyz", volumes, strict=False)
    ]


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

"""Answer EMR's wire protocol (JSON 1.1, parsed and serialised by moto) from an `EmrService`."""

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.emr import urls
from moto.emr.exceptions import InvalidRequestException
from moto.emr.responses import ElasticMapReduceResponse

from localaws.emr_documents import ClusterDocument, Json
from localaws.emr_instances import instance_fleets, instance_groups, instances
from localaws.emr_job_flows import job_flow
from localaws.emr_service import EmrService

# What EMR returns at most in one answer of its lists.
PAGE_LENGTH = 50

# moto's code for these would look for clusters of its own and fail: refuse in EMR's words instead.
_UNSUPPORTED = (
    "add_instance_groups",
    "modify_instance_groups",
    "put_auto_scaling_policy",
    "remove_auto_scaling_policy",
)


class LocalEmrResponse(ElasticMapReduceResponse):
    """EMR's operations; those about security configurations and releases stay moto's."""

    service: EmrService

    @property
    def request_data(self) -> Json:
        """Return the request as boto3 was given it."""
        data: Json = self.params.original_dict()
        return data

    # Clusters

    def run_job_flow(self) -> ActionResult:
        """Start a cluster."""
        document = self.service.run(self.request_data)
        return ActionResult({"JobFlowId": document.id, "ClusterArn": document.arn})

    def describe_cluster(self) -> ActionResult:
        """Describe a cluster."""
        return ActionResult({"Cluster": self._cluster().shape()})

    def list_clusters(self) -> ActionResult:
        """List clusters by state and creation time."""
        data = self.request_data
        found = self.service.clusters(
            data.get("ClusterStates") or (), data.get("CreatedAfter"), data.get("CreatedBefore")
        )
        everything = [document.id for document in self.service.clusters()]
        return self._page("Clusters", [document.summary() for document in found], everything)

    def describe_job_flows(self) -> ActionResult:
        """Describe clusters as EMR did before DescribeCluster; deprecated, kept for old clients."""
        data = self.request_data
        wanted = data.get("JobFlowIds") or ()
        if wanted:
            self.service.job_flows(wanted)
        found = self.service.clusters((), data.get("CreatedAfter"), data.get("CreatedBefore"))
        states = set(data.get("JobFlowStates") or ())
        details = [job_flow(document) for document in found if not wanted or document.id in wanted]
        shown = [d for d in details if not states or d["ExecutionStatusDetail"]["State"] in states]
        return ActionResult({"JobFlows": shown})

    def terminate_job_flows(self) -> ActionResult:
        """Terminate clusters."""
        self.service.terminate(self.request_data.get("JobFlowIds") or [])
        return EmptyResult()

    def set_termination_protection(self) -> ActionResult:
        """Protect clusters, or stop protecting them."""
        value = bool(self.request_data["TerminationProtected"])
        return self._set_on_job_flows("termination_protected", value)

    def set_keep_job_flow_alive_when_no_steps(self) -> ActionResult:
        """Let clusters wait, or end, after the last step."""
        value = bool(self.request_data["KeepJobFlowAliveWhenNoSteps"])
        return self._set_on_job_flows("keep_alive", value)

    def set_visible_to_all_users(self) -> ActionResult:
        """Set a flag that has no effect here."""
        return self._set_on_job_flows("visible", bool(self.request_data["VisibleToAllUsers"]))

    def modify_cluster(self) -> ActionResult:
        """Accept the only step concurrency there is."""
        level = self.request_data.get("StepConcurrencyLevel", 1)
        self._cluster()
        if level != 1:
            raise InvalidRequestException("the embedded EMR runs one step at a time")
        return ActionResult({"StepConcurrencyLevel": level})

    def put_auto_termination_policy(self) -> ActionResult:
        """Set how long a cluster may be idle."""
        data = self.request_data
        self.service.set_auto_termination(data["ClusterId"], data.get("AutoTerminationPolicy"))
        return ActionResult({})

    def get_auto_termination_policy(self) -> ActionResult:
        """Tell how long a cluster may be idle."""
        seconds = self._cluster().idle_timeout
        policy = {} if seconds is None else {"AutoTerminationPolicy": {"IdleTimeout": seconds}}
        return ActionResult(policy)

    def remove_auto_termination_policy(self) -> ActionResult:
        """Let a cluster idle for ever."""
        self.service.set_auto_termination(self.request_data["ClusterId"], None)
        return ActionResult({})

    def add_tags(self) -> ActionResult:
        """Tag a cluster."""
        data = self.request_data
        tags = {tag["Key"]: tag.get("Value", "") for tag in data.get("Tags") or []}
        self.service.cluster(data["ResourceId"]).update(lambda document: document.tags.update(tags))
        return EmptyResult()

    def remove_tags(self) -> ActionResult:
        """Remove tags from a cluster."""
        data = self.request_data
        gone = set(data.get("TagKeys") or [])

        def change(document: ClusterDocument) -> None:
            document.tags = {k: v for k, v in document.tags.items() if k not in gone}

        self.service.cluster(data["ResourceId"]).update(change)
        return EmptyResult()

    # Steps

    def add_job_flow_steps(self) -> ActionResult:
        """Queue steps."""
        data = self.request_data
        step_ids = self.service.add_steps(
            data["JobFlowId"], data.get("Steps") or [], data.get("ExecutionRoleArn")
        )
        return ActionResult({"StepIds": step_ids})

    def describe_step(self) -> ActionResult:
        """Describe a step."""
        data = self.request_data
        step = self.service.step(data["ClusterId"], data.get("StepId"))
        return ActionResult({"Step": step.shape()})

    def list_steps(self) -> ActionResult:
        """List steps by state or id."""
        data = self.request_data
        found = self.service.steps(
            data["ClusterId"], data.get("StepStates") or (), data.get("StepIds") or ()
        )
        everything = [step.id for step in self.service.steps(data["ClusterId"])]
        return self._page("Steps", [step.shape() for step in found], everything)

    def cancel_steps(self) -> ActionResult:
        """Cancel pending and running steps."""
        data = self.request_data
        verdicts = self.service.cancel_steps(data["ClusterId"], data.get("StepIds") or [])
        return ActionResult({"CancelStepsInfoList": verdicts})

    # Nodes

    def list_bootstrap_actions(self) -> ActionResult:
        """List a cluster's bootstrap actions."""
        actions = self._cluster().request.get("BootstrapActions") or []
        shapes = [
            {
                "Name": action["Name"],
                "ScriptPath": action["ScriptBootstrapAction"]["Path"],
                "Args": action["ScriptBootstrapAction"].get("Args") or [],
            }
            for action in actions
        ]
        return ActionResult({"BootstrapActions": shapes})

    def list_instance_groups(self) -> ActionResult:
        """List a cluster's instance groups."""
        return ActionResult({"InstanceGroups": instance_groups(self._cluster())})

    def list_instance_fleets(self) -> ActionResult:
        """List a cluster's instance fleets."""
        return ActionResult({"InstanceFleets": instance_fleets(self._cluster())})

    def list_instances(self) -> ActionResult:
        """List a cluster's instances: this machine plays the primary, the others are not there."""
        cluster = self._cluster()
        everything = [node["Id"] for node in instances(cluster)]
        found = instances(cluster, _instance_kinds(self.request_data))
        return self._page("Instances", found, everything)

    def _cluster(self) -> ClusterDocument:
        return self.service.cluster(self.request_data.get("ClusterId")).document

    def _page(self, name: str, shapes: list[Json], everything: list[str]) -> ActionResult:
        """Return what follows the request's Marker, at most a page of it.

        The marker is the id of the last entry delivered. Its place is looked up among everything, not
        among what matches now: between two pages a cluster changes its state and newer ones come.

        Args:
            name: the list's name in the answer.
            shapes: the matching entries, in order.
            everything: the ids of all entries there are, in order.
        """
        marker = self.request_data.get("Marker")
        if marker is not None:
            if marker not in everything:
                raise InvalidRequestException(f"Marker '{marker}' is not valid.")
            left = set(everything[everything.index(marker) + 1 :])
            shapes = [shape for shape in shapes if shape["Id"] in left]
        page = shapes[:PAGE_LENGTH]
        more = {"Marker": page[-1]["Id"]} if len(shapes) > PAGE_LENGTH else {}
        return ActionResult({name: page, **more})

    def _set_on_job_flows(self, attribute: str, value: bool) -> ActionResult:
        for cluster in self.service.job_flows(self.request_data.get("JobFlowIds") or []):
            self.service.change(cluster, lambda document: setattr(document, attribute, value))
        return EmptyResult()


def _instance_kinds(data: Json) -> list[str]:
    """Return the kinds of node that ListInstances asks for, by either of its filters."""
    fleet_type = data.get("InstanceFleetType")
    return [*(data.get("InstanceGroupTypes") or []), *([fleet_type] if fleet_type else [])]


def _refusal(operation: str) -> Callable[[BaseResponse], Any]:
    def refuse(_: BaseResponse) -> ActionResult:
        raise InvalidRequestException(f"the embedded EMR does not support {operation}")

    return refuse


def install(service: EmrService) -> None:
    """Route EMR requests here. Call before the first request."""
    LocalEmrResponse.service = service
    for operation in _UNSUPPORTED:
        setattr(LocalEmrResponse, operation, _refusal(operation))
    urls.url_paths["{0}/$"] = LocalEmrResponse.dispatch

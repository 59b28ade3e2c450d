"""Judge how a cluster ended, from what EMR says about it and its steps: pure functions.

TERMINATED alone is no success: it also means that somebody terminated the cluster, or that it was
idle. Success is the reason ALL_STEPS_COMPLETED and every step COMPLETED; the stage's manifest in
S3 is checked beside this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

LIVE_STATES: tuple[Literal["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"], ...] = (
    "STARTING",
    "BOOTSTRAPPING",
    "RUNNING",
    "WAITING",
)
ENDED_STATES = ("TERMINATED", "TERMINATED_WITH_ERRORS")


@dataclass(frozen=True)
class FailedStep:
    """Name a step that did not complete, and what EMR says of it."""

    step_id: str
    name: str
    state: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """Hold how a cluster ended.

    Attributes:
        state: the cluster's last state.
        code: StateChangeReason's code.
        message: StateChangeReason's message and every ErrorDetails entry, in one line.
        failed: the steps that did not complete.
        subnet: where its machines were, empty if EMR does not say.
    """

    state: str
    code: str
    message: str
    failed: tuple[FailedStep, ...]
    subnet: str = ""

    @property
    def succeeded(self) -> bool:
        """Tell whether every step ran to its end and nothing else ended the cluster."""
        ended_by_itself = (self.state, self.code) == ("TERMINATED", "ALL_STEPS_COMPLETED")
        return ended_by_itself and not self.failed

    @property
    def broken(self) -> tuple[FailedStep, ...]:
        """Return the steps that ran and failed: they alone have logs with a cause in them."""
        return tuple(step for step in self.failed if step.state == "FAILED")

    @property
    def cut_short(self) -> tuple[FailedStep, ...]:
        """Return the steps that were at work when something else ended the cluster."""
        at_work = {"RUNNING", "CANCEL_PENDING", "INTERRUPTED"}
        return tuple(step for step in self.failed if step.state in at_work)

    def explain(self, cluster_id: str) -> str:
        """Return what happened, a line for the cluster and one for every step that failed."""
        lines = [f"cluster {cluster_id} ended {self.state}: {self.code}: {self.message}"]
        lines += [f"  step {s.name} ({s.step_id}) {s.state}: {s.reason}" for s in self.failed]
        return "\n".join(lines)


def judge(cluster: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Outcome:
    """Read DescribeCluster's Cluster and ListSteps' Steps."""
    status = cluster["Status"]
    change = status.get("StateChangeReason", {})
    details = "; ".join(
        f"{detail.get('ErrorCode', '')} {detail.get('ErrorMessage', '')}".strip()
        for detail in status.get("ErrorDetails", [])
    )
    message = "; ".join(part for part in (change.get("Message", ""), details) if part)
    failed = tuple(_failed(step) for step in steps if step["Status"]["State"] != "COMPLETED")
    if not steps:  # a cluster without steps has done no work, whatever it says
        failed = (FailedStep("-", "-", "MISSING", "EMR lists no step for this cluster"),)
    subnet = cluster.get("Ec2InstanceAttributes", {}).get("Ec2SubnetId", "")
    return Outcome(status["State"], change.get("Code", "UNKNOWN"), message, failed, subnet)


def _failed(step: Mapping[str, Any]) -> FailedStep:
    status = step["Status"]
    details = status.get("FailureDetails", {})
    parts = (details.get("Reason"), details.get("Message"), details.get("LogFile"))
    reason = "; ".join(part for part in parts if part)
    return FailedStep(step["Id"], step["Name"], status["State"], reason or "no details from EMR")

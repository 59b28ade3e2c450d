import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localaws.emr_cluster import Cluster, Ending, Outcome
from localaws.emr_documents import (
    ClusterDocument,
    ClusterFiles,
    StepDocument,
    interrupt,
    new_id,
)

FAILED = Outcome(ok=False, failure={"Reason": "Unknown Error.", "Message": "m"})


@dataclass
class FakeWorkplace:
    """Plays the world: each step's name says how it ends."""

    provision_ending: Ending | None = None
    bootstrap_ending: Ending | None = None
    saved_states: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)

    def seconds_to_start(self, cluster: ClusterDocument) -> float:
        return 0.0

    def seconds_to_boot(self, cluster: ClusterDocument) -> float:
        return 0.0

    def provision(self, cluster: ClusterDocument, stopped: Callable[[], bool]) -> Ending | None:
        return self.provision_ending

    def bootstrap(self, cluster: ClusterDocument) -> Ending | None:
        return self.bootstrap_ending

    def execute(
        self, cluster: ClusterDocument, step: StepDocument, stopped: Callable[[], bool]
    ) -> Outcome:
        self.executed.append(step.request["Name"])
        if step.request["Name"] == "breaks":
            raise OSError("disk full")
        if step.request["Name"] == "loses its nodes":
            return Outcome(ok=False, ending=Ending("INSTANCE_FAILURE", "gone"))
        if step.request["Name"] == "long":
            self.started.set()
            wait_until(stopped)
            return FAILED
        return FAILED if step.request["Name"] == "fails" else Outcome(ok=True)

    def save(self, cluster: ClusterDocument) -> None:
        if self.saved_states[-1:] != [cluster.state]:
            self.saved_states.append(cluster.state)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def document(*steps: StepDocument, **settings: Any) -> ClusterDocument:
    return ClusterDocument(
        id=new_id("j"),
        arn="arn",
        request={"Name": "c"},
        created=time.time(),
        steps=list(steps),
        **settings,
    )


def a_step(name: str, action: str = "TERMINATE_CLUSTER") -> StepDocument:
    source = {"Jar": "command-runner.jar"}
    request = {"Name": name, "ActionOnFailure": action, "HadoopJarStep": source}
    return StepDocument(id=new_id("s"), request=request, created=time.time())


def live(*steps: StepDocument, workplace: FakeWorkplace | None = None, **settings: Any) -> Cluster:
    """Run a cluster to its end."""
    cluster = Cluster(document(*steps, **settings), workplace or FakeWorkplace())
    cluster.start()
    assert cluster.join(10)
    return cluster


def outcome(cluster: Cluster) -> tuple[str, str, list[str]]:
    found = cluster.document
    return found.state, found.reason_code, [step.state for step in found.steps]


@pytest.mark.parametrize(
    ("names", "action", "expected"),
    [
        (["a", "b"], "CONTINUE", ("TERMINATED", "ALL_STEPS_COMPLETED", ["COMPLETED"] * 2)),
        ([], "CONTINUE", ("TERMINATED", "ALL_STEPS_COMPLETED", [])),
        (
            ["fails", "b"],
            "TERMINATE_CLUSTER",
            ("TERMINATED_WITH_ERRORS", "STEP_FAILURE", ["FAILED", "CANCELLED"]),
        ),
        (
            ["fails", "b"],
            "TERMINATE_JOB_FLOW",
            ("TERMINATED_WITH_ERRORS", "STEP_FAILURE", ["FAILED", "CANCELLED"]),
        ),
        (
            ["fails", "b"],
            "CANCEL_AND_WAIT",
            ("TERMINATED", "ALL_STEPS_COMPLETED", ["FAILED", "CANCELLED"]),
        ),
        (
            ["fails", "b"],
            "CONTINUE",
            ("TERMINATED", "ALL_STEPS_COMPLETED", ["FAILED", "COMPLETED"]),
        ),
        (
            ["breaks", "b"],
            "CONTINUE",
            ("TERMINATED_WITH_ERRORS", "INTERNAL_ERROR", ["CANCELLED"] * 2),
        ),
    ],
)
def test_end_follows_from_the_steps(
    names: list[str], action: str, expected: tuple[str, str, list[str]]
) -> None:
    assert outcome(live(*[a_step(name, action) for name in names])) == expected


def test_states_come_in_order() -> None:
    workplace = FakeWorkplace()
    live(a_step("a"), workplace=workplace)
    assert workplace.saved_states == [
        *("STARTING", "BOOTSTRAPPING", "RUNNING", "TERMINATING", "TERMINATED")
    ]


def test_failed_bootstrap_ends_the_cluster_before_any_step() -> None:
    ending = Ending("BOOTSTRAP_FAILURE", "no script", ({"ErrorCode": "X"},))
    workplace = FakeWorkplace(bootstrap_ending=ending)
    cluster = live(a_step("a"), workplace=workplace)
    assert outcome(cluster) == ("TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", ["CANCELLED"])
    assert cluster.document.errors == [{"ErrorCode": "X"}]
    assert cluster.document.ready is None
    assert workplace.executed == []


def test_cluster_without_instances_ends_before_its_bootstrap() -> None:
    workplace = FakeWorkplace(provision_ending=Ending("INSTANCE_FLEET_TIMEOUT", "no capacity"))
    cluster = live(a_step("a"), workplace=workplace)
    assert outcome(cluster) == ("TERMINATED_WITH_ERRORS", "INSTANCE_FLEET_TIMEOUT", ["CANCELLED"])
    assert workplace.saved_states == ["STARTING", "TERMINATING", "TERMINATED_WITH_ERRORS"]


def test_loss_of_nodes_ends_the_cluster_whatever_the_steps_action_on_failure_is() -> None:
    cluster = live(a_step("loses its nodes", "CONTINUE"), a_step("b", "CONTINUE"))
    assert outcome(cluster) == ("TERMINATED_WITH_ERRORS", "INSTANCE_FAILURE", ["CANCELLED"] * 2)


def test_idle_cluster_terminates_itself_after_the_policys_time() -> None:
    began = time.monotonic()
    cluster = live(a_step("a"), keep_alive=True, idle_timeout=1)
    assert 1 <= time.monotonic() - began < 5
    assert outcome(cluster) == ("TERMINATED", "USER_REQUEST", ["COMPLETED"])
    assert "auto-terminated" in cluster.document.reason


def test_policy_put_on_a_waiting_cluster_counts_from_then() -> None:
    cluster = Cluster(document(keep_alive=True), FakeWorkplace())
    cluster.start()
    wait_until(lambda: cluster.document.state == "WAITING")
    cluster.update(lambda found: setattr(found, "idle_timeout", 1))
    assert cluster.join(10)
    assert cluster.document.state == "TERMINATED"


def test_waiting_cluster_runs_added_steps_and_refuses_them_once_ending() -> None:
    cluster = Cluster(document(keep_alive=True), FakeWorkplace())
    cluster.start()
    wait_until(lambda: cluster.document.state == "WAITING")
    added = a_step("late")
    assert cluster.add_steps([added])
    wait_until(lambda: added.state == "COMPLETED")
    cluster.terminate(Ending("USER_REQUEST", "Terminated by user request"))
    assert not cluster.add_steps([a_step("too late")])
    assert cluster.join(10)
    assert outcome(cluster) == ("TERMINATED", "USER_REQUEST", ["COMPLETED"])


def test_terminating_interrupts_the_running_step_and_keeps_the_first_reason() -> None:
    workplace = FakeWorkplace()
    cluster = Cluster(document(a_step("long"), a_step("b")), workplace)
    cluster.start()
    assert workplace.started.wait(10)
    cluster.terminate(Ending("USER_REQUEST", "first"))
    cluster.terminate(Ending("INTERNAL_ERROR", "second"))
    assert cluster.join(10)
    assert outcome(cluster) == ("TERMINATED", "USER_REQUEST", ["INTERRUPTED", "CANCELLED"])
    assert cluster.document.reason == "first"


def test_cancelled_running_step_does_not_fail_the_cluster() -> None:
    workplace = FakeWorkplace()
    running = a_step("long")
    cluster = Cluster(document(running, a_step("b")), workplace)
    cluster.start()
    assert workplace.started.wait(10)
    assert cluster.cancel(running) == ""
    assert cluster.join(10)
    assert outcome(cluster) == ("TERMINATED", "ALL_STEPS_COMPLETED", ["CANCELLED", "COMPLETED"])
    assert "cannot be cancelled" in cluster.cancel(running)


def test_protected_cluster_survives_a_failed_step() -> None:
    cluster = Cluster(
        document(a_step("fails"), a_step("b"), keep_alive=True, termination_protected=True),
        FakeWorkplace(),
    )
    cluster.start()
    wait_until(lambda: cluster.document.state == "WAITING")
    assert [step.state for step in cluster.document.steps] == ["FAILED", "CANCELLED"]
    cluster.terminate(Ending("USER_REQUEST", "end"))
    assert cluster.join(10)


def test_protection_does_not_keep_a_transient_cluster_whose_step_failed() -> None:
    cluster = live(a_step("fails"), a_step("b"), termination_protected=True)
    assert outcome(cluster) == ("TERMINATED_WITH_ERRORS", "STEP_FAILURE", ["FAILED", "CANCELLED"])


def test_documents_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    files = ClusterFiles(tmp_path)
    cluster = live(a_step("fails"))
    files.save(cluster.document)
    assert list(files.load()) == [cluster.document]
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_interrupted_cluster_says_that_the_embedded_aws_was_restarted() -> None:
    running, pending = a_step("long"), a_step("b")
    running.state, running.started = "RUNNING", 1.0
    found = document(running, pending, state="RUNNING")
    interrupt(found, 2.0)
    assert (found.state, found.reason_code) == ("TERMINATED_WITH_ERRORS", "INTERNAL_ERROR")
    assert "restarted" in found.reason
    assert [step.state for step in found.steps] == ["INTERRUPTED", "CANCELLED"]

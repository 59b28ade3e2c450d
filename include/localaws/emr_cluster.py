"""Move one EMR cluster through its states, as documented by AWS, and run its steps one by one.

STARTING -> BOOTSTRAPPING -> RUNNING <-> WAITING -> TERMINATING -> TERMINATED | TERMINATED_WITH_ERRORS.
https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-overview.html#emr-overview-cluster-lifecycle
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from localaws.emr_documents import (
    CLUSTER_ENDING,
    STEP_DONE,
    ClusterDocument,
    Json,
    StepDocument,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """Why a cluster ends.

    Attributes:
        code: EMR's StateChangeReason code.
        message: its message.
        errors: EMR's ErrorDetails.
    """

    code: str
    message: str
    errors: tuple[Json, ...] = ()

    @property
    def state(self) -> str:
        """Return the final state that goes with the code."""
        regular = self.code in {"USER_REQUEST", "ALL_STEPS_COMPLETED"}
        return "TERMINATED" if regular else "TERMINATED_WITH_ERRORS"


@dataclass(frozen=True)
class Outcome:
    """How a step's command ended.

    Attributes:
        ok: exit code 0.
        failure: EMR's FailureDetails when not ok.
        ending: why the cluster ends with it; None when that is for ActionOnFailure to say.
    """

    ok: bool
    failure: dict[str, str] = field(default_factory=dict)
    ending: Ending | None = None


class Workplace(Protocol):
    """What a cluster needs of the world; tests and fault injection put another one in its place."""

    def seconds_to_start(self, cluster: ClusterDocument) -> float:
        """Say how long STARTING lasts."""

    def seconds_to_boot(self, cluster: ClusterDocument) -> float:
        """Say how long BOOTSTRAPPING lasts."""

    def provision(self, cluster: ClusterDocument, stopped: Callable[[], bool]) -> Ending | None:
        """Get instances, at the end of STARTING; an ending when there are none, or `stopped`."""

    def bootstrap(self, cluster: ClusterDocument) -> Ending | None:
        """Run the bootstrap actions; an ending when one failed."""

    def execute(
        self, cluster: ClusterDocument, step: StepDocument, stopped: Callable[[], bool]
    ) -> Outcome:
        """Run a step to its end, or kill it as soon as `stopped` says so."""

    def save(self, cluster: ClusterDocument) -> None:
        """Keep the document."""


class Cluster:
    """One cluster's life, in a thread of its own.

    Attributes:
        document: its state; read and changed under `changed`.
        changed: notified on every change.
    """

    def __init__(self, document: ClusterDocument, workplace: Workplace) -> None:
        self.document = document
        self.changed = threading.Condition()
        self._workplace = workplace
        self._ending: Ending | None = None
        self._cancelled: set[str] = set()
        self._idle_since = time.monotonic()
        self._thread = threading.Thread(target=self._live, name=document.id, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._workplace.save(self.document)
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the end; False when it did not come in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # Requests

    def add_steps(self, steps: list[StepDocument]) -> bool:
        """Queue steps; False when the cluster is past taking any."""
        with self.changed:
            if self._ending or self.document.state in CLUSTER_ENDING:
                return False
            self.document.steps.extend(steps)
            self._note()
            return True

    def terminate(self, ending: Ending) -> None:
        """Ask for the end; a cluster that is already ending keeps its reason."""
        with self.changed:
            if self._ending or self.document.state in CLUSTER_ENDING:
                return
            self._ending = ending
            self.document.state = "TERMINATING"
            self._note()

    def cancel(self, step: StepDocument) -> str:
        """Cancel a step; the reason why not, or an empty string."""
        with self.changed:
            if step.state == "PENDING":
                self._end_step(step, "CANCELLED", "Cancelled by user")
            elif step.state == "RUNNING":
                step.state = "CANCEL_PENDING"
                self._cancelled.add(step.id)
            else:
                return f"Step is in {step.state} state and cannot be cancelled."
            self._note()
            return ""

    def update(self, change: Callable[[ClusterDocument], None]) -> None:
        """Change a setting (tags, keep-alive, protection, policy) and let the cluster look at it."""
        with self.changed:
            policy = self.document.idle_timeout
            change(self.document)
            if self.document.idle_timeout != policy:
                self._idle_since = time.monotonic()
            self._note()

    # Life

    def _live(self) -> None:
        try:
            ending = self._boot() or self._work()
        except Exception as error:
            logger.exception("cluster %s failed", self.document.id)
            ending = Ending(
                "INTERNAL_ERROR", f"The embedded EMR failed: {error!r}; its log says where"
            )
        self._shut_down(ending)

    def _boot(self) -> Ending | None:
        self._pass("STARTING", self._workplace.seconds_to_start(self.document))
        failed = self._ending or self._workplace.provision(self.document, self._is_ending)
        if failed:
            return failed
        self._pass("BOOTSTRAPPING", self._workplace.seconds_to_boot(self.document))
        failed = self._ending or self._workplace.bootstrap(self.document)
        with self.changed:
            if failed is None and self._ending is None:
                self.document.ready = time.time()
        self._idle_since = time.monotonic()
        return failed

    def _is_ending(self) -> bool:
        return self._ending is not None

    def _pass(self, state: str, seconds: float) -> None:
        """Be in a state for a while, unless asked to end."""
        with self.changed:
            if self._ending is None:
                self.document.state = state
                self._note()
                self.changed.wait_for(lambda: self._ending is not None, seconds)

    def _work(self) -> Ending:
        while True:
            with self.changed:
                step = self._next_step()
            if isinstance(step, Ending):
                return step
            outcome = self._workplace.execute(self.document, step, partial(self._stopped, step))
            with self.changed:
                self._conclude(step, outcome)
                self._idle_since = time.monotonic()

    def _next_step(self) -> StepDocument | Ending:
        """Wait for a step to run or a reason to end. Called under the lock."""
        document = self.document
        while True:
            if self._ending:
                return self._ending
            step = next((s for s in document.steps if s.state == "PENDING"), None)
            if step is not None:
                document.state = step.state = "RUNNING"
                step.started = time.time()
                self._note()
                return step
            if not document.keep_alive:
                failed = any(s.state == "FAILED" for s in document.steps)
                message = "Steps completed with errors" if failed else "Steps completed"
                return Ending("ALL_STEPS_COMPLETED", message)
            if document.state != "WAITING":
                document.state = "WAITING"
                document.reason_code, document.reason = (
                    "USER_REQUEST",
                    "Cluster ready to run steps.",
                )
                self._note()
            left = self._idle_seconds_left()
            if left is not None and left <= 0:
                return Ending(
                    "USER_REQUEST",
                    f"Cluster auto-terminated: idle for {document.idle_timeout} seconds.",
                )
            self.changed.wait(left)

    def _idle_seconds_left(self) -> float | None:
        """Return how long the cluster may still wait; None without a policy.

        Only WAITING is idle here. AWS looks at YARN: there a plain-python step under a short policy can
        count as idle unless it touches /emr/metricscollector/isbusy.
        """
        if self.document.idle_timeout is None:
            return None
        return self.document.idle_timeout - (time.monotonic() - self._idle_since)

    def _stopped(self, step: StepDocument) -> bool:
        return self._ending is not None or step.id in self._cancelled

    def _conclude(self, step: StepDocument, outcome: Outcome) -> None:
        """Settle a step's state and what follows from it. Called under the lock."""
        if outcome.ok:
            self._end_step(step, "COMPLETED")
        elif self._ending:
            self._end_step(
                step, "INTERRUPTED", "The cluster was terminated while the step was running"
            )
        elif step.id in self._cancelled:
            self._end_step(step, "CANCELLED", "Cancelled by user")
        elif outcome.ending:
            self._end_step(step, "CANCELLED", "Job terminated")
            self._ending = outcome.ending
        else:
            step.failure = outcome.failure
            self._end_step(step, "FAILED")
            self._apply_action_on_failure(step)
        self._note()

    def _apply_action_on_failure(self, failed: StepDocument) -> None:
        action = failed.action_on_failure
        # "If the cluster has termination protection enabled AND auto-terminate disabled, it will not
        # terminate": AWS's page on termination protection. It cancels the rest and waits then.
        stays = self.document.termination_protected and self.document.keep_alive
        if action == "TERMINATE_CLUSTER" and not stays:
            self._ending = Ending("STEP_FAILURE", "Shut down as step failed")
        elif action != "CONTINUE":
            for step in self.document.steps:
                if step.state == "PENDING":
                    self._end_step(step, "CANCELLED", "Cancelled because a previous step failed")

    def _shut_down(self, ending: Ending) -> None:
        with self.changed:
            document = self.document
            self._ending = ending
            document.state = "TERMINATING"
            document.reason_code, document.reason = ending.code, ending.message
            document.errors = list(ending.errors)
            for step in document.steps:
                if step.state not in STEP_DONE:
                    self._end_step(step, "CANCELLED", "Job terminated")
            self._note()
            document.ended = time.time()
            document.state = ending.state
            self._note()

    @staticmethod
    def _end_step(step: StepDocument, state: str, reason: str = "") -> None:
        step.state = state
        step.reason = reason
        step.ended = time.time()

    def _note(self) -> None:
        self._workplace.save(self.document)
        self.changed.notify_all()

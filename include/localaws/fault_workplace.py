"""Let clusters and steps fail as they fail on EMR. Wording and codes are EMR's where they are known.

Sources: AWS's pages on ErrorDetails (BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE,
INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ) and messages quoted in public issue trackers. The message of
INSTANCE_FLEET_TIMEOUT was not found quoted anywhere: its code is EMR's, its wording is ours.
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from localaws import fault_step
from localaws.emr_cluster import Ending, Outcome
from localaws.emr_documents import ZONE, ClusterDocument, StepDocument
from localaws.emr_instances import wanted_capacity
from localaws.emr_workplace import LOG_NAMES, LocalWorkplace, error_detail
from localaws.fault_rules import (
    BootstrapFailure,
    Capacity,
    LateLogs,
    Rule,
    SlowStart,
    SpotLoss,
    StepExit,
    StepHang,
)
from localaws.faults import Faults, Target, moment_of
from localaws.s3_service import S3Service
from localaws.steps import Command

_LEARN = "Learn more at https://docs.aws.amazon.com/console/elasticmapreduce"


class FaultyWorkplace(LocalWorkplace):
    """The local workplace, with faults on demand."""

    def __init__(self, s3: S3Service, endpoint_url: str, faults: Faults) -> None:
        super().__init__(s3, endpoint_url)
        self._faults = faults
        self._late: dict[str, LateLogs] = {}
        self._spoiled: dict[str, Rule] = {}
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._closed = False

    def provision(self, cluster: ClusterDocument, stopped: Callable[[], bool]) -> Ending | None:
        """Take long to find instances, or find none, if so told."""
        target = moment_of(cluster)
        slow = self._faults.take(SlowStart, target)
        if slow:
            self._faults.hold(slow, slow.seconds, stopped)
        rule = None if stopped() else self._faults.take(Capacity, target)
        return _no_capacity(cluster, rule, target) if rule else super().provision(cluster, stopped)

    def bootstrap(self, cluster: ClusterDocument) -> Ending | None:
        """Let the first bootstrap action fail, if so told; without one, what EMR itself installs."""
        failed = super().bootstrap(cluster)
        rule = None if failed else self._faults.take(BootstrapFailure, moment_of(cluster))
        if rule is None:
            return failed
        node = f"node/{cluster.primary_instance}"
        if not cluster.request.get("BootstrapActions"):
            place = f"{node}/provision-node/apps-phase/0/{uuid4()}"
            self.ship(cluster, f"{place}/stderr.gz", rule.stderr.encode())
            return _provisioning_failed(cluster)
        self.ship(cluster, f"{node}/bootstrap-actions/1/stderr.gz", rule.stderr.encode())
        return _bootstrap_failed(cluster, rule)

    def execute(
        self, cluster: ClusterDocument, step: StepDocument, stopped: Callable[[], bool]
    ) -> Outcome:
        """Run a step; take the instances away under it, if so told."""
        target = moment_of(cluster, step.request["Name"])
        late = self._faults.take(LateLogs, target)
        if late:
            self._late[step.id] = late
        take = self._faults.take
        rule = take(SpotLoss, target) or take(StepHang, target) or take(StepExit, target)
        if rule:
            return self._execute_spoiled(cluster, step, stopped, rule)
        return super().execute(cluster, step, stopped)

    def _execute_spoiled(
        self,
        cluster: ClusterDocument,
        step: StepDocument,
        stopped: Callable[[], bool],
        rule: SpotLoss | StepHang | StepExit,
    ) -> Outcome:
        if not isinstance(rule, SpotLoss) or rule.lost == "some":
            self._spoiled[step.id] = rule
            return super().execute(cluster, step, stopped)
        deadline = time.monotonic() + rule.seconds
        outcome = super().execute(cluster, step, lambda: stopped() or time.monotonic() >= deadline)
        return outcome if stopped() else Outcome(ok=False, ending=_instances_lost(cluster, rule))

    def command(self, cluster: ClusterDocument, step: StepDocument) -> Command:
        """Translate a step; put the program of faulty steps before it, if so told."""
        found = super().command(cluster, step)
        rule = self._spoiled.pop(step.id, None)
        if rule is None:
            return found
        # -I -S: nothing of the machine's Python may get between the fault and the step.
        spoiler = [sys.executable, "-I", "-S", fault_step.__file__, rule.model_dump_json()]
        return replace(found, argv=[*spoiler, *found.argv])

    def ship_logs(
        self,
        cluster: ClusterDocument,
        step: StepDocument,
        logs: Path,
        shipped: dict[str, int] | None,
    ) -> None:
        """Put a step's logs into S3, late if so told."""
        late = self._late.get(step.id)
        if late is None:
            super().ship_logs(cluster, step, logs, shipped)
        elif shipped is None:
            # Read now: the step's directory is about to go.
            names = [name for name in LOG_NAMES if (logs / name).exists()]
            contents = {f"steps/{step.id}/{name}.gz": (logs / name).read_bytes() for name in names}
            self._ship_later(late.seconds, cluster, contents)

    def close(self) -> None:
        """Give up logs that have not been shipped yet; the store is about to close."""
        with self._lock:
            self._closed = True
            for timer in self._timers:
                timer.cancel()

    def _ship_later(
        self, seconds: float, cluster: ClusterDocument, contents: dict[str, bytes]
    ) -> None:
        def ship() -> None:
            with self._lock:  # close() waits for a shipment under way, and none begins after it
                for name, content in ({} if self._closed else contents).items():
                    self.ship(cluster, name, content)

        timer = threading.Timer(seconds, ship)
        timer.daemon = True
        with self._lock:
            self._timers.append(timer)
            timer.start()


def _no_capacity(cluster: ClusterDocument, rule: Capacity, target: Target) -> Ending:
    fleets = bool((cluster.request.get("Instances") or {}).get("InstanceFleets"))
    code = rule.reason or ("INSTANCE_FLEET_TIMEOUT" if fleets else "INTERNAL_ERROR")
    types = sorted(name for _, names in target.capacity for name in names) or ["unknown"]
    message = (
        rule.message
        or {
            "INSTANCE_FLEET_TIMEOUT": "Provisioning timeout expired before the target capacity of the "
            f"instance fleet was fulfilled ({', '.join(types)})",
            "INTERNAL_ERROR": f"EC2 is out of capacity for {types[0]} in availability zone {ZONE}. "
            f"{_LEARN}/ERROR_noinstancecapacity",
            "VALIDATION_ERROR": f"The requested instance type {types[0]} is not supported in the requested "
            f"availability zone. {_LEARN}/ERROR_noinstancetype",
        }[code]
    )
    if code != "INTERNAL_ERROR":
        return Ending(code, message)
    data = {"instance-type": types[0], "availability-zone": ZONE}
    error = error_detail("INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ", message, data)
    return Ending(code, message, (error,))


def _bootstrap_failed(cluster: ClusterDocument, rule: BootstrapFailure) -> Ending:
    instance = cluster.primary_instance
    message = (
        f"On the master instance ({instance}), bootstrap action 1 returned a non-zero return code"
    )
    data = {
        "primary-instance-id": instance,
        "bootstrap-action": "1",
        "return-code": str(rule.code),
        "amazon-s3-path": cluster.request["BootstrapActions"][0]["ScriptBootstrapAction"]["Path"],
    }
    error = error_detail("BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE", message, data)
    return Ending("BOOTSTRAP_FAILURE", message, (error,))


def _provisioning_failed(cluster: ClusterDocument) -> Ending:
    message = (
        f"On the master instance ({cluster.primary_instance}), application provisioning failed"
    )
    return Ending("BOOTSTRAP_FAILURE", message)


def _instances_lost(cluster: ClusterDocument, rule: SpotLoss) -> Ending:
    """Word the loss as EMR does: a cluster of one node has no slaves to lose."""
    lone = "All instances in the job flow are terminated"
    slaves = "All slaves in the job flow were terminated due to Spot"
    default = slaves if len(wanted_capacity(cluster.request)) > 1 else lone
    return Ending("INSTANCE_FAILURE", rule.message or default)

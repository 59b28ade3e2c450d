"""Play one cell: start a run, bring it to a moment, let something go wrong, see how all of it ends."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_stack import await_that
from cloud import LOCATIONS
from fault_theatre import SNAPSHOT, Theatre

from localaws import fault_client
from recommender.locations import run_key

Rule = dict[str, Any]
PREPROCESS = "preprocess"
# A held answer is let go by the test; a minute is only the net. boto3 gives up a silent call after it.
HELD_SECONDS = 50
PATIENCE = 400.0
ADDING = threading.Lock()
LIMIT_SECONDS = 120  # no cluster may outlive its run by more


@dataclass
class Play:
    """One run of one lane and the faults that are aimed at it."""

    theatre: Theatre
    lane: str
    run_id: str = ""
    rules: dict[str, int] = field(default_factory=dict)
    strikes: dict[str, int] = field(default_factory=dict)  # of faults that are over

    @property
    def dag(self) -> str:
        return self.theatre.dag(self.lane)

    def start(self) -> None:
        self.theatre.ready(self.lane)
        self.run_id = self.theatre.stack.trigger(self.dag, {"snapshot": SNAPSHOT})

    # Faults

    def aim(self, name: str, rule: Rule, stage: str = PREPROCESS) -> None:
        """Set a fault for this lane alone: by the clusters' tags, or by the keys that S3 is asked for."""
        if rule.get("service") != "s3":
            tags = {"recsys:dag": self.dag} | ({"recsys:stage": stage} if stage else {})
            rule = {**rule, "match": {"tags": tags}}
        with ADDING:
            (self.rules[name],) = fault_client.add(self.theatre.endpoint, rule)

    def key(self, *parts: str) -> str:
        """Return a key below the run's own directory in the work bucket."""
        run = LOCATIONS.run(f"lane_{self.lane}", SNAPSHOT_DATE, run_key(self.run_id))
        return "/".join([run.root.partition("//")[2].partition("/")[2], *parts])

    def hold(
        self, name: str, operation: str, when: str = "before", stage: str = PREPROCESS
    ) -> None:
        """Let a call's answer (or the call itself) wait until `release`."""
        rule = {"kind": "delay", "service": "emr", "operations": [operation], "when": when}
        self.aim(name, {**rule, "seconds": HELD_SECONDS}, stage)

    def hold_start(self, stage: str = PREPROCESS) -> None:
        """Keep the stage's next cluster in STARTING until `release("start")`."""
        self.aim("start", {"kind": "slow_start", "seconds": 600, "times": 1}, stage)

    def struck(self, name: str) -> int:
        """Tell how often a fault has struck."""
        found = {rule["id"]: rule for rule in fault_client.show(self.theatre.endpoint)}
        return int(found[self.rules[name]]["fired"])

    def await_strike(self, name: str, times: int = 1) -> None:
        what = f"{name} to strike {times} times in {self.run_id}"
        await_that(lambda: self.struck(name) >= times, PATIENCE, what)

    def release(self, *names: str) -> None:
        for name in names or list(self.rules):
            self.strikes[name] = self.struck(name)
            fault_client.remove(self.theatre.endpoint, self.rules.pop(name))

    # The run

    def task(self, task_id: str) -> dict[str, Any]:
        path = f"/dags/{self.dag}/dagRuns/{self.run_id}/taskInstances/{task_id}"
        found: dict[str, Any] = self.theatre.stack.call("GET", path)
        return found

    def await_task(self, task_id: str, *states: str) -> None:
        what = f"{task_id} of {self.run_id} to be {' or '.join(states)}"
        await_that(lambda: self.task(task_id)["state"] in states, PATIENCE, what)

    def await_watch(self, stage: str = PREPROCESS) -> None:
        """Wait until the stage's wait is deferred and its trigger has looked at the cluster."""
        self.await_task(f"{stage}.wait", "deferred")
        (cluster,) = self.clusters(stage)
        seen = f"cluster {cluster['Id']} is "
        await_that(lambda: seen in "\n".join(self.log()), PATIENCE, f"a look at {cluster['Id']}")

    def mark(self, task_id: str, state: str) -> None:
        path = f"/dags/{self.dag}/dagRuns/{self.run_id}/taskInstances/{task_id}"
        self.theatre.stack.call("PATCH", path, {"new_state": state})

    def mark_run(self, state: str) -> None:
        path = f"/dags/{self.dag}/dagRuns/{self.run_id}"
        self.theatre.stack.call("PATCH", path, {"state": state})

    def clear(self, task_id: str) -> None:
        body = {
            "dag_run_id": self.run_id,
            "task_ids": [task_id],
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
        }
        self.theatre.stack.call("POST", f"/dags/{self.dag}/clearTaskInstances", body)

    # Its clusters

    def clusters(self, stage: str = "") -> list[dict[str, Any]]:
        """Return the run's clusters, the oldest first."""
        found = self.theatre.cloud.clusters_of(self.run_id)
        found.sort(key=lambda cluster: cluster["Status"]["Timeline"]["CreationDateTime"])
        return [cluster for cluster in found if stage in {"", tag(cluster, "recsys:stage")}]

    def await_end_of_cluster(self, stage: str = PREPROCESS) -> None:
        def ended() -> bool:
            found = self.clusters(stage)
            return bool(found) and all("EndDateTime" in c["Status"]["Timeline"] for c in found)

        await_that(ended, PATIENCE, f"the end of the cluster of {stage} of {self.run_id}")

    def finish(self) -> Ended:
        """Wait until the run and its clusters have ended; return how."""
        state = self.theatre.stack.await_run(self.dag, self.run_id, 600)
        self.await_tasks_at_rest()
        run = self.theatre.stack.call("GET", f"/dags/{self.dag}/dagRuns/{self.run_id}")
        over = dt.datetime.fromisoformat(run["end_date"])
        deadline = time.monotonic() + LIMIT_SECONDS
        while (alive := self.alive()) and time.monotonic() < deadline:
            time.sleep(1)
        clusters = self.clusters()
        ends = [end for c in clusters if (end := c["Status"]["Timeline"].get("EndDateTime"))]
        late = max(((end - over).total_seconds() for end in ends), default=0.0)
        return Ended(state, clusters, len(alive), max(0.0, late), "\n".join(self.log()))

    def alive(self) -> list[str]:
        return [c["Id"] for c in self.clusters() if "EndDateTime" not in c["Status"]["Timeline"]]

    def await_tasks_at_rest(self) -> None:
        """A run that a person has marked as failed ends before its teardown."""

        def at_rest() -> bool:
            states = set(self.theatre.stack.tasks(self.dag, self.run_id).values())
            return not states & {"running", "queued", "scheduled", "deferred", "up_for_retry"}

        await_that(at_rest, PATIENCE, f"all tasks of {self.run_id} at rest")

    def log(self) -> Iterator[str]:
        """Yield every line that the run's tasks and triggers have logged, exceptions included."""
        root = self.theatre.stack.home / "logs" / f"dag_id={self.dag}" / f"run_id={self.run_id}"
        files = sorted(root.rglob("*"), key=lambda file: (file.is_file(), str(file)))
        for file in files:
            for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                yield from str(entry.get("event", "")).splitlines()
                for detail in entry.get("error_detail") or []:
                    yield from f"{detail['exc_type']}: {detail['exc_value']}".splitlines()


@dataclass(frozen=True)
class Ended:
    """How a run and its clusters ended.

    Attributes:
        run: the run's state.
        clusters: DescribeCluster's Cluster of each, the oldest first.
        alive: how many lived two minutes after the run's end.
        late: seconds from the run's end to the last cluster's.
        log: all that its tasks and triggers logged.
    """

    run: str
    clusters: list[dict[str, Any]]
    alive: int
    late: float
    log: str

    @property
    def attempts(self) -> list[str]:
        """Return stage and ticket of each cluster: no two may be equal."""
        return [f"{tag(c, 'recsys:stage')} {tag(c, 'recsys:ticket')}" for c in self.clusters]

    def describe_clusters(self) -> str:
        """Return for each cluster its stage and how it ended."""
        if not self.clusters:
            return "none"
        return "; ".join(
            f"{tag(c, 'recsys:stage')}: {c['Status']['StateChangeReason'].get('Code', '?')}"
            for c in self.clusters
        )

    def message(self, pattern: str) -> str | None:
        """Return the last line of the log in which the pattern is found, a class with its failure."""
        lines = self.log.splitlines()
        found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
        if not found:
            return None
        last, text = found[-1], lines[found[-1]].strip()
        return f"{lines[last - 1].strip()} ({text})" if text.startswith("class: ") else text


def tag(cluster: dict[str, Any], name: str) -> str:
    """Return a tag of a cluster."""
    return {entry["Key"]: str(entry["Value"]) for entry in cluster["Tags"]}[name]


Script = Callable[[Play], None]
SNAPSHOT_DATE = dt.date.fromisoformat(SNAPSHOT)

"""Run the nightly DAG on the embedded AWS with real purchases, and tell what came of it.

Real Airflow runs the real DAG (``airflow dags test``: no scheduler needed); two EMR clusters of
the embedded AWS run real Spark and real ALS. Ends with ``verdict: promoted <version>`` or
``verdict: refused (<reason>)``; exits non-zero only if something broke.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import localaws.testing
from demo import airflow, services, snapshots, summary
from demo.paths import AIRFLOW_HOME, BUCKETS, DATA, LOGS
from recommender import environment, storage
from recommender.errors import NotFoundError
from recommender.gate import Decision
from recommender.locations import PROFILE, REPORT, Locations, join, run_key

RECOMMENDER = "complete_journey"
DAG_ID = f"retrain_{RECOMMENDER}"
_STARTING = re.compile(r"\[DAG TEST\] starting task_id=(\S+)")
_RUN_ID = re.compile(r"\brun_id=(\S+)")
_TOLD = re.compile(
    r"^\S+ \[(?:info|warning|error) *\] (.*?) *\[(?:airflow\.task\.operators\.)?recsys_emr\."
)
# What a reader of the terminal calls the parts; a task's name begins with one of these.
_STAGES = {
    "resolve_run": "snapshot and code",
    "stage_code": "snapshot and code",
    "wait_for_snapshot": "snapshot and code",
    "plan": "snapshot and code",
    "plan_preprocess": "preprocessing cluster",
    "preprocess": "preprocessing cluster",
    "read_profile": "preprocessing cluster",
    "check_data": "preprocessing cluster",
    "is_new": "preprocessing cluster",
    "plan_train": "training cluster",
    "train": "training cluster",
    "read_metrics": "training cluster",
}
_LAST_STAGE = "gate and publication"


def main() -> int:
    """Run the demo and print the summary; return the exit code."""
    begun = time.monotonic()
    try:
        with _embedded_aws() as endpoint:
            aws = localaws.testing.environment(endpoint)
            os.environ.update(aws)
            env = airflow.environment(AIRFLOW_HOME, aws)
            print(f"embedded AWS at {endpoint}; preparing Airflow and the data ...", flush=True)
            with ThreadPoolExecutor() as pool:  # both take seconds, neither needs the other
                migrated = pool.submit(airflow.migrate, env)
                pool.submit(snapshots.write, snapshots.MONTHS[-1:]).result()
                migrated.result()
            prepared = time.monotonic() - begun
            run_id, seconds = _run_dag(env, snapshots.MONTHS[-1])
            _print_summary(run_id, snapshots.MONTHS[-1], [("preparation", prepared), *seconds])
    except (RuntimeError, NotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _embedded_aws() -> Iterator[str]:
    """Use the embedded AWS that ``make up`` started, or one of our own for the while."""
    if services.answers(f"{services.ENDPOINT}/_localaws/health"):
        yield services.ENDPOINT
        return
    with localaws.testing.running(DATA, BUCKETS) as server:
        yield server.endpoint_url


def _run_dag(env: dict[str, str], snapshot: dt.date) -> tuple[str, list[tuple[str, float]]]:
    """Run the DAG, telling its progress; return the run id and the seconds of each stage.

    Raises:
        RuntimeError: the run failed; the message holds the end of its log.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / "demo.log"
    # Whoever asks for the demo a second time wants to see a training, too.
    conf = json.dumps({"snapshot": snapshot.isoformat(), "retrain_identical": True})
    command = [str(airflow.AIRFLOW), "dags", "test", DAG_ID, "--conf", conf]
    print(f"airflow dags test {DAG_ID} (its whole log: {log})", flush=True)
    progress = _Progress()
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            progress.read(line)
    if process.returncode or not progress.run_id:
        message = f"the run failed; its log ends:\n{_tail(log.read_text())}\nthe whole log: {log}"
        raise RuntimeError(message)
    return progress.run_id, progress.finish()


class _Progress:
    """Follow an ``airflow dags test`` by its log lines."""

    def __init__(self) -> None:
        self.begun = self.since = time.monotonic()
        self.run_id = ""
        self.stage = "Airflow start"
        self.seconds: dict[str, float] = {}

    def read(self, line: str) -> None:
        """Print what a person wants to see of a line, and keep the time of the stages."""
        if started := _STARTING.search(line):
            task = started.group(1)
            self._enter(_STAGES.get(task.partition(".")[0], _LAST_STAGE))
            print(f"{time.monotonic() - self.begun:6.1f} s  {task}", flush=True)
        elif told := _TOLD.match(line):
            if not told.group(1).startswith(("RunJobFlow", "the gate's rules", "the data checks")):
                print(f"            {told.group(1)}", flush=True)
        elif not self.run_id and (found := _RUN_ID.search(line)):
            self.run_id = found.group(1)

    def finish(self) -> list[tuple[str, float]]:
        """Return the seconds of every stage, in order."""
        self._enter("")
        return list(self.seconds.items())

    def _enter(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.since
        self.stage, self.since = stage, now


def _print_summary(run_id: str, snapshot: dt.date, seconds: list[tuple[str, float]]) -> None:
    locations = environment.load().locations
    run = locations.run(RECOMMENDER, snapshot, run_key(run_id))
    record = locations.decision(RECOMMENDER, snapshot, run_key(run_id))
    decision = Decision.from_json(storage.read_json(record))
    version = _version(locations, run_key(run_id))
    print("\nrows, from raw to train")
    print(summary.rows(storage.read_json(join(run.dataset, PROFILE))))
    print("\nmodels on the test window, best first")
    print(summary.models(storage.read_json(join(run.report, REPORT))))
    print(f"\nthe gate's rules\n{decision.table()}")
    print("\nwhere everything is")
    places = {"dataset": run.dataset, "candidate": run.candidate, "report": run.report}
    places |= {"quarantine": run.quarantine, "decision": record}
    if version:
        places["version"] = locations.version(RECOMMENDER, version)
    places["champion"] = locations.champion(RECOMMENDER)
    for name, uri in places.items():
        print(f"  {name:<11} {uri}")
    print(f"  on disk, each s3://bucket/key is {DATA}/s3/bucket/key")
    print(f"\nwall time\n{summary.stages(seconds)}")
    print("\nnext: `make up` starts the Airflow UI with the same DAGs\n")
    print(summary.verdict(decision, version))


def _version(locations: Locations, key: str) -> str | None:
    """Find the version that a run has published."""
    for version in storage.list_children(locations.versions(RECOMMENDER)):
        manifest = storage.read_json(join(locations.version(RECOMMENDER, version), "manifest.json"))
        if manifest["about"].get("run_key") == key:
            return version
    return None


def _tail(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-30:])


if __name__ == "__main__":
    sys.exit(main())

"""Run one snapshot from raw events to a published version on this machine, and say what each step takes.

    PYTHONPATH=include python benchmarks/interactions.py --rows 1e7 --raw FOLDER/raw/2020-12-30
    PYTHONPATH=include python benchmarks/pipeline.py FOLDER/raw/2020-12-30 --work FOLDER/run

The jobs that a run's clusters execute, each a process of its own, on local paths: preprocess, train,
evaluate, verify; then the gate's decision and the publication in this process. No scheduler and no
cluster: what they add is in minutes and does not grow with the data. One JSON line a step: wall and
processor seconds and the peak memory of the step's largest process.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from recommender import config, gate, registry, storage
from recommender import jobs as recommender_jobs
from recommender.locations import REPORT, VERIFICATION, Locations, join

NAME, KEY = "scale", "run"


def recommender(factors: int, iterations: int, engine: str) -> dict[str, object]:
    """Return the configuration: 5-core, four weeks held out, one fit without a search."""
    length = {"factors": factors, "iterations": iterations}
    return {
        "name": NAME,
        "description": "Generated interactions.",
        "dataset": NAME,
        "preprocess": {"format": "events"},
        "train": {
            "engine": engine,
            "search": None,
            "contenders": ["popularity", "popularity_recent", "popularity_decayed"],
            "als": {"alpha": 10, "regularization": 100, **length},
            "distributed": {"regularization": 1, "frequency_exponent": 1, **length},
        },
    }


def step(name: str, arguments: Sequence[str], heap: str | None) -> None:
    """Run a job in a process and print what it took; with a heap by spark-submit, on local[*].

    Raises:
        subprocess.CalledProcessError: the job failed; its log is on stderr.
    """
    command = [sys.executable, "-m", f"recommender.jobs.{name}", *arguments]
    if heap is not None:
        submit = str(Path(sys.executable).with_name("spark-submit"))
        script = str(Path(recommender_jobs.__path__[0]) / f"{name}.py")
        command = [submit, "--driver-memory", heap, script, *arguments]
    began = time.monotonic()
    child = subprocess.Popen(command)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    tell(name, time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / (1 << 20))


def tell(name: str, seconds: float, cpu: float, peak: float | None) -> None:
    """Print one step."""
    line = {"step": name, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    print(json.dumps({**line, "peak_gib": peak and round(peak, 2)}), flush=True)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("snapshot", type=Path, help="folder of raw events, named by its date")
    parser.add_argument("--work", type=Path, required=True, help="everything is written here")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--engine", choices=["implicit", "spark"], default="implicit")
    parser.add_argument("--heap", help="Spark's memory, executor and driver in one, such as 1g")
    parser.add_argument("--from", dest="first", default="preprocess", help="start at this step")
    parser.add_argument("--until", dest="last", default="publish", help="end with this step")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    chosen = recommender(asked.factors, asked.iterations, asked.engine)
    path = asked.work / "recommender.yaml"
    path.write_text(yaml.safe_dump(chosen))
    locations = Locations(str(asked.work / "lake"), str(asked.work), str(asked.work / "models"))
    date = dt.date.fromisoformat(asked.snapshot.name)
    run = locations.run(NAME, date, KEY)
    shared = ["--config", str(path)]
    jobs = {
        "preprocess": [
            *("--snapshot", str(asked.snapshot), "--snapshot-date", date.isoformat()),
            *("--output", run.dataset, "--quarantine", run.quarantine),
        ],
        "train": ["--dataset", run.dataset, "--output", run.candidate],
        "evaluate": [
            *("--dataset", run.dataset, "--candidate", run.candidate, "--output", run.report)
        ],
        "verify": [
            *("--candidate", run.candidate, "--report", run.report, "--output", run.verification)
        ],
    }
    names = [*jobs, "publish"]
    for name in names[names.index(asked.first) : names.index(asked.last) + 1]:
        if name == "publish":
            publish(locations, date, config.load(str(path)))
        else:
            step(name, [*shared, *jobs[name]], asked.heap)


def publish(locations: Locations, date: dt.date, settings: config.Recommender) -> None:
    """Decide as the task ``gate`` does, and publish what may be."""
    began, cpu = time.monotonic(), time.process_time()
    run = locations.run(NAME, date, KEY)
    attempt = gate.Attempt(NAME, date, KEY, settings.evaluate.k, dt.datetime.now(dt.UTC))
    verification = gate.Verification.from_json(
        storage.read_json(join(run.verification, VERIFICATION))
    )
    report = storage.read_json(join(run.report, REPORT))
    decision = gate.decide(report, settings.gate, attempt, None, verification)
    registry.record_decision(locations, decision)
    print(decision.table(), file=sys.stderr)
    if decision.acts:
        print(registry.publish(locations, decision, run.candidate, run.report), file=sys.stderr)
    tell("decide and publish", time.monotonic() - began, time.process_time() - cpu, None)
    print(json.dumps({"verdict": decision.verdict, "reason": decision.reason}), flush=True)


if __name__ == "__main__":
    main()

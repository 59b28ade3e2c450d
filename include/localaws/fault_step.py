"""Stand before a step's command and spoil it: the program of faulty steps.

Run as ``python -I -S fault_step.py '{"kind": ...}' command ...`` in the step's process group, so that the
step has a real process, real logs and a real exit code.
"""

import json
import signal
import subprocess
import sys
from typing import Any

# What Spark's driver writes when YARN reports a node that was taken away.
LOST = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 "
    "times, most recent failure: Lost task 0.3 in stage 0.0: ExecutorLostFailure (executor 1 exited "
    "caused by one of the running tasks) Reason: Container marked as failed: "
    "Container released on a *lost* node\n"
)


def main() -> int:
    """Do what the rule says; the exit code."""
    rule: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    if rule["kind"] == "spot_loss":
        return _lose_executors(command, rule["seconds"])
    if rule["when"] == "after":
        code = subprocess.call(command)
        if code != 0:  # it failed by itself: that is the failure to show
            return code if code > 0 else 128 - code
    if rule["kind"] == "step_hang":
        while True:
            signal.pause()
    sys.stderr.write(rule["stderr"])
    return int(rule["code"])


def _lose_executors(command: list[str], seconds: float) -> int:
    process = subprocess.Popen(command)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    sys.stderr.write(LOST)
    return 1


if __name__ == "__main__":
    sys.exit(main())

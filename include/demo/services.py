"""Start and stop Airflow and the embedded AWS in the background: ``make up``, ``make down``."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import localaws.testing
from demo import airflow, snapshots
from demo.paths import (
    AIRFLOW_HOME,
    AIRFLOW_PORT,
    BUCKETS,
    DATA,
    LOCALAWS_PORT,
    LOGS,
    PIDS,
    ROOT,
)

ENDPOINT = f"http://127.0.0.1:{LOCALAWS_PORT}"
AIRFLOW_URL = f"http://127.0.0.1:{AIRFLOW_PORT}"
_LOCALAWS_HEALTH = f"{ENDPOINT}/_localaws/health"
_START_SECONDS = 240.0  # Airflow needs about 30 s on two cores, more beside other work
_STOP_SECONDS = 30.0


def up() -> None:
    """Start what is not running, wait until it answers, say where it is."""
    start_localaws()
    os.environ.update(localaws.testing.environment(ENDPOINT))
    snapshots.write(snapshots.MONTHS[-4:])
    passwords = airflow.ensure_password(AIRFLOW_HOME)
    if not airflow.is_healthy(AIRFLOW_URL):
        start_airflow()
    print(
        f"Airflow       {AIRFLOW_URL}  user admin, password in {passwords}\n"
        f"embedded AWS  {ENDPOINT}  (buckets {', '.join(BUCKETS)})\n"
        "stop both with: make down"
    )


def start_airflow() -> None:
    """Start every component of Airflow and wait until all are well."""
    print("starting Airflow (half a minute) ...", flush=True)
    env = airflow.environment(AIRFLOW_HOME, localaws.testing.environment(ENDPOINT))
    airflow.migrate(env)
    processes = [start(name, [str(airflow.AIRFLOW), name], env) for name in airflow.COMPONENTS]
    await_health("Airflow", processes, lambda: airflow.is_healthy(AIRFLOW_URL))


def start_localaws() -> None:
    """Start the embedded AWS unless it answers already."""
    if answers(_LOCALAWS_HEALTH):
        return
    arguments = ["--port", str(LOCALAWS_PORT), "--data-dir", str(DATA)]
    for bucket in BUCKETS:
        arguments += ["--bucket", bucket]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    process = start("localaws", [sys.executable, "-m", "localaws", *arguments], env)
    await_health("the embedded AWS", [process], lambda: answers(_LOCALAWS_HEALTH))


def down() -> None:
    """Stop what ``up`` started, Airflow first: its tasks talk to the embedded AWS."""
    for name in (*reversed(airflow.COMPONENTS), "localaws"):
        stop(name)


def start(name: str, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output in ``var/log``."""
    LOGS.mkdir(parents=True, exist_ok=True)
    PIDS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    (PIDS / f"{name}.pid").write_text(str(process.pid))
    return process


def stop(name: str) -> None:
    """Stop a process group that ``start`` made; a stale or absent pid file is no error."""
    pid_file = PIDS / f"{name}.pid"
    if not pid_file.is_file():
        return
    group = int(pid_file.read_text())
    if _is_ours(group):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                break
            if _await(lambda: not _alive(group), _STOP_SECONDS):
                break
        print(f"{name} stopped")
    else:
        print(f"{name} was not running")
    pid_file.unlink()


def answers(url: str) -> bool:
    """Tell whether a health endpoint says 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback http
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def await_health(
    name: str, processes: Sequence[subprocess.Popen[bytes]], healthy: Callable[[], bool]
) -> None:
    """Wait until a service answers.

    Raises:
        RuntimeError: one of its processes ended, or it took too long; the message says where the
            logs are.
    """

    def ended() -> bool:
        return any(process.poll() is not None for process in processes)

    if _await(lambda: ended() or healthy(), _START_SECONDS) and not ended():
        return
    state = "has ended" if ended() else f"gave no healthy answer in {_START_SECONDS:.0f} s"
    message = f"{name} {state}; see the logs in {LOGS}, then `make down`"
    raise RuntimeError(message)


def _await(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _is_ours(group: int) -> bool:
    """Tell our process from a stranger that got the same number after a reboot.

    Airflow's components rename themselves, but "airflow" stays in the name.
    """
    try:
        command = Path(f"/proc/{group}/cmdline").read_bytes()
    except OSError:  # the leader is gone, or there is no /proc (macOS): trust the file
        return _alive(group)
    return b"airflow" in command or b"localaws" in command


def run_airflow(arguments: Sequence[str]) -> None:
    """Become Airflow's command line, pointed at the Airflow that ``up`` starts."""
    env = airflow.environment(AIRFLOW_HOME, localaws.testing.environment(ENDPOINT))
    os.execve(airflow.AIRFLOW, [str(airflow.AIRFLOW), *arguments], env)  # noqa: S606 - no shell wanted


def shell_environment() -> dict[str, str]:
    """Return what a shell needs beside its own variables to talk to the embedded AWS."""
    path = f"{airflow.AIRFLOW.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    variables = {"RECSYS_ENVIRONMENT": "local", "PATH": path}
    return {**localaws.testing.environment(ENDPOINT), **variables}


def print_environment() -> None:
    """Print ``shell_environment`` for a shell's ``eval``."""
    for name, value in shell_environment().items():
        print(f"export {name}={shlex.quote(value)}")


def run_recsys(arguments: Sequence[str]) -> None:
    """Become the models' command line, pointed at the embedded AWS that ``up`` starts."""
    program = ROOT / "bin" / "recsys"
    env = {**os.environ, **shell_environment()}
    os.execve(program, [str(program), *arguments], env)  # noqa: S606 - no shell wanted


def main() -> int:
    """Run ``up``, ``down``, or a command that talks to what ``up`` has started."""
    parser = argparse.ArgumentParser(prog="python -m demo.services", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "env", "airflow", "recsys"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of airflow and recsys")
    parsed = parser.parse_args()
    try:
        if parsed.command == "airflow":
            run_airflow(parsed.arguments)
        if parsed.command == "recsys":
            run_recsys(parsed.arguments)
        {"up": up, "down": down, "env": print_environment}[parsed.command]()
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

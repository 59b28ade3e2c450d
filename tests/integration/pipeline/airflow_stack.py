"""A real Airflow, each of its parts a process that a test may kill and start again."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import postgres
import requests

from demo import airflow

PASSWORD = secrets.token_hex(8)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def await_that(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for a condition to become true and return what it returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:.0f} s in vain for: {what}")


@dataclass
class Stack:
    """An Airflow on loopback and how to talk to it."""

    env: dict[str, str]
    url: str
    home: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _token: str = ""

    def start(self, component: str) -> None:
        with (self.home / f"{component}.log").open("ab") as log:
            self.processes[component] = subprocess.Popen(
                [str(airflow.AIRFLOW), component],
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a component with all its children, as a lost machine would."""
        process = self.processes.pop(component)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait(timeout=60)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the REST API as a user would, logged in."""
        if not self._token:
            login = {"username": "admin", "password": PASSWORD}
            answer = requests.post(f"{self.url}/auth/token", json=login, timeout=120)
            answer.raise_for_status()
            self._token = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {self._token}"}

        def asked() -> requests.Response | None:
            answer = requests.request(
                method, f"{self.url}/api/v2{path}", json=body, headers=headers, timeout=120
            )
            # SQLite lets one writer in: a request that met the scheduler's was rolled back, whole.
            locked = answer.status_code == 500 and "Database error" in answer.text
            return None if locked else answer

        # A response of 4xx is false, too.
        (answer,) = await_that(lambda: [a] if (a := asked()) is not None else None, 60, path)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def unpause(self, dag_id: str) -> None:
        def parsed() -> bool:
            return dag_id in {dag["dag_id"] for dag in self.call("GET", "/dags?limit=100")["dags"]}

        await_that(parsed, 180, f"{dag_id} to be parsed")
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        body = {"logical_date": None, "conf": conf}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str]:
        answer = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")
        return {task["task_id"]: task["state"] for task in answer["task_instances"]}

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.call("GET", f"{path}?deserialize=true")["value"]

    def await_run(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """Wait until a run has ended and return its state."""

        def ended() -> str | None:
            state = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state if state in {"success", "failed"} else None

        return str(await_that(ended, seconds, f"the end of {run_id}"))

    def command(self, *arguments: str) -> str:
        """Run Airflow's command line and return what it printed."""
        for _ in range(5):
            done = subprocess.run(
                [str(airflow.AIRFLOW), *arguments],
                env=self.env,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            # SQLite refuses a second writer at once where it has read before: it was rolled back.
            if done.returncode == 0 or "database is locked" not in done.stdout + done.stderr:
                break
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


@contextmanager
def running(
    home: Path, aws: dict[str, str], config: Path, *, parallelism: int = 4
) -> Iterator[Stack]:
    """Start every component, wait until all are healthy, and stop them for certain."""
    with postgres.running() as database:
        stack = _prepared(home, aws, config, parallelism, database)
        try:
            for component in airflow.COMPONENTS:
                stack.start(component)
            await_that(
                lambda: airflow.is_healthy(stack.url),
                180,
                f"a healthy Airflow; its logs are in {home}",
            )
            yield stack
        finally:
            for component in list(stack.processes):
                stack.kill(component)


def _prepared(
    home: Path, aws: dict[str, str], config: Path, parallelism: int, database: str | None
) -> Stack:
    port = free_port()
    passwords = home / "passwords.json"
    home.mkdir(parents=True)
    passwords.write_text(json.dumps({"admin": PASSWORD}) + "\n")
    env = airflow.environment(home, aws, port=port, config=config) | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{home}/airflow.db",
        # A killed scheduler's tasks are found again after this; the default is five minutes.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    }
    airflow.migrate(env)
    return Stack(env, f"http://127.0.0.1:{port}", home)

"""Containers, hooks and CI: safe by default, and each script shown to do what it says."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
ONE_SHOT = ("airflow-init", "demo-data")
LONG_RUNNING = sorted(set(SERVICES) - set(ONE_SHOT))
# What the embedded AWS is called with: it checks no signature, and its network has no way in.
DUMMY_KEYS = {"AWS_ACCESS_KEY_ID": "localaws", "AWS_SECRET_ACCESS_KEY": "localaws"}


def test_compose_runs_airflow_its_database_and_the_embedded_aws() -> None:
    assert set(LONG_RUNNING) == {"postgres", "localaws", *AIRFLOW}


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_every_service_has_a_health_check_and_comes_back(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(service: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))
    assert SERVICES[service].get("network_mode") is None


def test_only_the_ui_is_published_and_the_embedded_aws_has_no_way_out() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api-server"]
    for service in ("localaws", "postgres"):
        assert all(COMPOSE["networks"][name]["internal"] for name in SERVICES[service]["networks"])


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_has_a_value_in_the_file(service: str) -> None:
    # "${NAME:?why}" stops `up` when NAME is unset or empty; "${NAME:-x}" would be a default.
    for name, value in SERVICES[service].get("environment", {}).items():
        if name in DUMMY_KEYS:
            assert value == DUMMY_KEYS[name]
        elif re.search(r"PASSWORD(?!S_FILE)|SECRET|FERNET", name):
            assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), name
        else:
            # A password inside a URL.
            assert re.fullmatch(r"[^:]+://[^:/@]+:\$\{[A-Z_]+:\?[^}]+\}@.*", value) or (
                "@" not in value
            )


def test_every_variable_without_a_default_is_a_secret_of_make_env(tmp_path: Path) -> None:
    assert make_env(tmp_path / ".env").keys() == set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE_TEXT))


@pytest.mark.parametrize("service", AIRFLOW)
def test_airflow_waits_for_its_tables_and_shares_its_keys(service: str) -> None:
    waits = SERVICES[service]["depends_on"]
    assert waits["airflow-init"]["condition"] == "service_completed_successfully"
    assert waits["localaws"]["condition"] == "service_healthy"
    assert SERVICES[service]["environment"] == SERVICES["api-server"]["environment"]
    assert "logs:/opt/airflow/logs" in SERVICES[service]["volumes"]
    environment = SERVICES[service]["environment"]
    assert environment["AWS_ENDPOINT_URL"] == "http://localaws:4566"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith("http://api-server:")


def test_every_volume_is_named_and_used() -> None:
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    assert mounted == set(COMPOSE["volumes"])


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"postgres"}))
def test_our_containers_have_no_privileges(service: str) -> None:
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


def test_the_image_installs_the_lock_with_hashes_and_runs_as_a_user() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    install = next(line for line in lines if "pip install" in line)
    assert "--require-hashes" in install
    # Nothing runs as root after the last USER line, and the code is copied before it, as root's.
    last_user = max(i for i, line in enumerate(lines) if line.startswith("USER "))
    assert lines[last_user] == "USER recsys"
    assert not any(line.startswith(("COPY", "RUN", "ADD")) for line in lines[last_user:])
    copied = {line.split()[1] for line in lines if line.startswith("COPY")}
    admitted = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} == {line for line in admitted if line[:1] == "!"}


def make_env(target: Path) -> dict[str, str]:
    subprocess.run([ROOT / "docker/make-env", target], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in target.read_text().splitlines())


def test_make_env_writes_fresh_strong_secrets_for_the_owner_alone(tmp_path: Path) -> None:
    first, second = make_env(tmp_path / "a"), make_env(tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    for name, value in first.items():
        assert len(value) >= 24
        assert value != second[name]
        # Nothing that Compose, a URL or JSON would read as syntax.
        assert re.fullmatch(r"[A-Za-z0-9_=-]+", value)
    Fernet(first["FERNET_KEY"])


def test_make_env_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=testing\n")
    assert make_env(tmp_path / ".env") == {"POSTGRES_PASSWORD": "testing"}


def script(name: str) -> ModuleType:
    spec = util.spec_from_file_location(name, ROOT / "docker" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_init_writes_the_password_in_airflows_own_format(tmp_path: Path) -> None:
    path = tmp_path / "passwords.json"
    for password in ("first", 'se"cond'):
        script("init").write_passwords(path, password)
        assert json.loads(path.read_text()) == {"admin": password}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def serving(answers: dict[str, str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "").encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


AIRFLOW_HEALTH = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2018-01-01T00:00:00Z"},
    "triggerer": {"status": "unhealthy"},
    "dag_processor": {"status": None},
}


@pytest.mark.parametrize(
    ("component", "exit_code", "words"),
    [
        ("scheduler", 0, "healthy"),
        ("metadatabase", 0, "healthy"),
        ("triggerer", 1, "expected healthy, found unhealthy"),
        ("dag_processor", 1, "expected healthy, found None"),
        ("worker", 1, "expected healthy, found None"),
    ],
)
def test_health_of_airflows_components(
    component: str, exit_code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving({"/api/v2/monitor/health": json.dumps(AIRFLOW_HEALTH)}) as url:
        assert script("healthy").main([url, component]) == exit_code
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "exit_code"),
    [
        ({"/_localaws/health": '{"status": "ready"}'}, 0),
        ({"/_localaws/health": '{"status": "starting"}'}, 1),
        ({"/_localaws/health": "<html>"}, 1),
        ({}, 1),
    ],
)
def test_health_of_the_embedded_aws(answers: dict[str, str], exit_code: int) -> None:
    with serving(answers) as url:
        assert script("healthy").main([url]) == exit_code


def test_health_of_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with serving({}) as url:
        pass
    assert script("healthy").main([url]) == 1
    assert "does not answer" in capsys.readouterr().out


def test_health_checks_ask_for_the_components_that_airflow_reports() -> None:
    # The keys of Airflow 3's /api/v2/monitor/health (HealthInfoResponse).
    asked = {SERVICES[name]["healthcheck"]["test"][-1] for name in AIRFLOW}
    assert asked == set(AIRFLOW_HEALTH)


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


def run_ci(directory: Path, make: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/run in a repository of its own with a ``make`` that is a script."""
    tools, checkout = directory / "bin", directory / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    tools.mkdir()
    (checkout / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
    executable(tools / "make", f'echo "make $*" >> {directory}/calls\n{make}')
    # Nothing is installed on the machine that runs the tests.
    for tool in ("apt-get", "chromium"):
        executable(tools / tool, "exit 1")
    subprocess.run(["git", "init", "--quiet"], cwd=checkout, check=True)
    return subprocess.run(
        ["bash", checkout / ".ci/run"],
        env={"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ci_sets_up_checks_and_tests_in_that_order(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "exit 0")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["make setup-dev", "make check", "make test"]


def test_ci_stops_at_the_first_failure(tmp_path: Path) -> None:
    done = run_ci(tmp_path, '[[ "$1" != check ]]')
    assert done.returncode != 0
    assert "make test" not in (tmp_path / "calls").read_text()


def test_ci_fails_when_a_run_leaves_something_in_the_checkout(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "touch leak")
    assert done.returncode == 1
    assert "leak" in done.stderr


def test_hooks_are_valid_and_use_tools_of_the_lock() -> None:
    config = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(config)]
    subprocess.run(command, check=True, capture_output=True)
    locked = (ROOT / "requirements-dev.txt").read_text()
    packages = {"detect-secrets-hook": "detect-secrets"}
    for hook in yaml.safe_load(config.read_text())["repos"][0]["hooks"]:
        tool = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert re.search(rf"^{packages.get(tool, tool)}==", locked, re.MULTILINE), tool
        assert hook["language"] == "system"


@pytest.mark.parametrize("path", [".ci/run", "docker/make-env"])
def test_scripts_are_executable(path: str) -> None:
    assert (ROOT / path).stat().st_mode & stat.S_IXUSR

"""Point an Airflow at this checkout: its environment variables and its command line."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path

from demo.paths import AIRFLOW_PORT, ROOT

AIRFLOW = Path(sys.executable).parent / "airflow"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_LOGINS = "simple_auth_manager_passwords.json.generated"  # where Airflow looks by default


def environment(
    home: Path, aws: dict[str, str], *, port: int = AIRFLOW_PORT, config: Path | None = None
) -> dict[str, str]:
    """Return the environment of an Airflow whose DAGs are this checkout's.

    Args:
        home: AIRFLOW_HOME: the metadata database and the logs.
        aws: how to reach AWS: ``AWS_ENDPOINT_URL``, the region, credentials.
        port: where the UI and the API listen, on loopback.
        config: the configuration directory, if it is not the checkout's own.
    """
    settings = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": ROOT / "dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": ROOT / "plugins",
        "AIRFLOW__CORE__LOAD_EXAMPLES": False,
        "AIRFLOW__CORE__PARALLELISM": 4,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": 1,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": False,
        "PYTHONPATH": f"{ROOT / 'include'}{os.pathsep}{ROOT / 'plugins'}",
        "RECSYS_ENVIRONMENT": "local",
        "NO_COLOR": 1,
        "PATH": f"{AIRFLOW.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    if config is not None:
        settings["RECSYS_CONFIG_DIR"] = config
    return {**os.environ, **aws, **{key: str(value) for key, value in settings.items()}}


def ensure_password(home: Path) -> Path:
    """Write a random password for the user admin unless there is one; return its file.

    Airflow would make one itself, and print it into a log.
    """
    file = home / _LOGINS
    if not file.is_file():
        home.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}) + "\n")
    return file


def is_healthy(url: str) -> bool:
    """Tell whether every component of the Airflow at a URL says that it is well."""
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310 - loopback http
            parts = json.load(answer)
    except (OSError, ValueError):
        return False
    names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    return all(parts[name]["status"] == "healthy" for name in names)


def migrate(env: dict[str, str]) -> None:
    """Create the metadata database, or bring it up to date.

    Raises:
        RuntimeError: Airflow could not; the message ends with what it said.
    """
    done = subprocess.run(
        [AIRFLOW, "db", "migrate"], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = f"airflow db migrate failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise RuntimeError(message)

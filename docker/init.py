"""Prepare Airflow's state before its services start: tables, and the admin's password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Write the password file and bring the metadata database up to date."""
    write_passwords(
        Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]),
        os.environ["ADMIN_PASSWORD"],
    )
    return subprocess.run(["airflow", "db", "migrate"], check=False).returncode


def write_passwords(path: Path, password: str) -> None:
    """Replace the simple auth manager's file, so that .env alone decides the password.

    Left to itself Airflow makes one up and prints it into the log.
    """
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({"admin": password}) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())

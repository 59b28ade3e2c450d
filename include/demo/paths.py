"""Know where this checkout keeps what runs leave behind."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
DATA = VAR / "localaws"
LOGS = VAR / "log"
PIDS = VAR / "run"
AIRFLOW_HOME = VAR / "airflow"
LOCALAWS_PORT = 4566
AIRFLOW_PORT = 8080
BUCKETS = ("recsys-lake", "recsys-work", "recsys-models")

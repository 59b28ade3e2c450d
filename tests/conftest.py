"""Fixtures that every room of the tests may use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["small_datasets"]

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports Airflow or boto3: a home of the tests' own, and no way to a real account.
_HOME = tempfile.TemporaryDirectory(prefix="recsys-airflow-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(ROOT / "plugins")
os.environ["PYTHONPATH"] = os.pathsep.join(str(ROOT / room) for room in ("include", "plugins"))
# ranx compiles its metrics for a minute; a few small lists need no compiler.
os.environ["NUMBA_DISABLE_JIT"] = "1"
os.environ.pop("AWS_ENDPOINT_URL", None)
os.environ.pop("AWS_PROFILE", None)
os.environ.update(
    AWS_ACCESS_KEY_ID="tests",
    AWS_SECRET_ACCESS_KEY="tests",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)


# The same examples on every machine: a change breaks a property, never the dice. --hypothesis-seed
# or a larger max_examples looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real review samples; they have no licence to be copied in here."""
    folder = Path(os.environ.get("RECSYS_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real review samples at {folder}; RECSYS_SHARED_DATA names their folder")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rebuild-golden",
        action="store_true",
        help="write the golden files again from what the code does now; review them as a diff",
    )
    parser.addoption(
        "--fault-table",
        metavar="FILE",
        help="write how every fault that was played has ended, as a Markdown table",
    )

"""The promises of the hourly sweep."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError


@pytest.fixture(scope="session")
def sweep(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["sweep_clusters"]


def test_it_runs_every_hour_without_being_switched_on(sweep: DAG) -> None:
    assert str(sweep.schedule) == "23 * * * *"
    assert sweep.is_paused_upon_creation is False
    assert sweep.catchup is False
    assert sweep.max_active_runs == 1


def test_on_schedule_it_acts(sweep: DAG) -> None:
    assert {name: sweep.params[name] for name in sweep.params} == {
        "dry_run": False,
        "grace_minutes": 10,
    }


@pytest.mark.parametrize(
    ("name", "value"), [("dry_run", "yes"), ("grace_minutes", -1), ("grace_minutes", 1.5)]
)
def test_the_form_refuses_what_makes_no_sense(sweep: DAG, name: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        sweep.params.get_param(name).resolve(value=value)


def test_every_param_is_typed_described_and_has_a_title(sweep: DAG) -> None:
    for name in sweep.params:
        param = sweep.params.get_param(name)
        assert param.schema["type"], name
        assert param.schema["title"], name
        assert param.description, name


def test_its_task_is_bounded_and_retried(sweep: DAG) -> None:
    (task,) = sweep.tasks
    assert task.retries == 2
    assert task.execution_timeout == dt.timedelta(minutes=15)


def test_the_page_of_the_dag_is_its_docstring(sweep: DAG) -> None:
    assert sweep.doc_md
    assert sweep.doc_md.startswith("Terminate EMR clusters")


def test_the_file_imports_without_aws_or_network(root: Path) -> None:
    program = (
        "import socket, sys, time\n"
        "import airflow.sdk\n"
        "def refuse(*a, **k): raise AssertionError('a DAG file opened a connection')\n"
        "socket.socket.connect = refuse\n"
        f"sys.path.insert(0, {str(root / 'dags')!r})\n"
        "begun = time.process_time()\n"
        "import sweep_clusters\n"
        "seconds = time.process_time() - begun\n"
        "heavy = {'boto3', 'botocore', 'pyspark', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 1, seconds\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)

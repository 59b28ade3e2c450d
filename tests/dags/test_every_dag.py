"""What every DAG and every DAG file promises."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = sorted(path.stem for path in DAGS.glob("*.py"))
# They wait without a worker, for a snapshot, a cluster or a person; each wait has a limit of its own.
WAITING = {"wait_for_snapshot", "wait", "gate", "publish", "approve"}


def params(dag_bag: DagBag) -> list[tuple[str, DAG, str]]:
    return [
        (f"{id_}: {name}", dag, name) for id_, dag in dag_bag.dags.items() for name in dag.params
    ]


@pytest.mark.parametrize("file", FILES)
def test_a_dag_file_imports_in_under_a_second_without_network(file: str) -> None:
    """Measure the file's own import: Airflow is loaded once for all DAG files."""
    program = (
        "import socket, sys, time\n"
        "import airflow.sdk\n"
        "def refuse(*a, **k): raise AssertionError('a DAG file opened a connection')\n"
        "socket.socket.connect = refuse\n"
        f"sys.path.insert(0, {str(DAGS)!r})\n"
        "begun = time.process_time()\n"
        f"import {file}\n"
        "seconds = time.process_time() - begun\n"
        "heavy = {'boto3', 'pyspark', 'implicit', 'pandas', 'numpy', 'moto'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 1, seconds\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_every_file_makes_a_dag(dag_bag: DagBag) -> None:
    assert {Path(dag.fileloc).stem for dag in dag_bag.dags.values()} == set(FILES)


def test_every_param_is_typed_described_and_has_a_title(dag_bag: DagBag) -> None:
    forms = params(dag_bag)
    assert forms
    for label, dag, name in forms:
        param = dag.params.get_param(name)
        assert param.schema["type"], label
        assert param.schema["title"], label
        assert param.description, label


def test_the_page_of_a_dag_is_its_files_docstring(dag_bag: DagBag) -> None:
    for dag in dag_bag.dags.values():
        assert dag.doc_md, dag.dag_id
        assert Path(dag.fileloc).read_text().startswith(f'"""{dag.doc_md.strip()[:40]}'), dag.dag_id


def test_no_run_is_made_up_for_the_past(dag_bag: DagBag) -> None:
    assert not [dag.dag_id for dag in dag_bag.dags.values() if dag.catchup]


def test_every_task_is_tried_again_and_bounded_unless_its_wait_has_a_limit_of_its_own(
    dag_bag: DagBag,
) -> None:
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert task.retries == 2, task
            limit, name = task.execution_timeout, task.task_id.rpartition(".")[2]
            assert name in WAITING if limit is None else limit <= dt.timedelta(hours=1), task

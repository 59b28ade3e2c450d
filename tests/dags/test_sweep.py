"""The promises of the hourly sweep."""

from __future__ import annotations

import datetime as dt

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


def test_its_task_is_bounded_and_retried(sweep: DAG) -> None:
    (task,) = sweep.tasks
    assert task.retries == 2
    assert task.execution_timeout == dt.timedelta(minutes=15)

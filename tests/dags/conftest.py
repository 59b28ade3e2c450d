"""Load the DAGs as Airflow's DAG processor does, against both shipped environments."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG


@pytest.fixture(scope="session")
def dag_bag(root: Path) -> DagBag:
    bag = DagBag(dag_folder=str(root / "dags"))
    assert not bag.import_errors
    return bag


@pytest.fixture(scope="session")
def dag(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["retrain_complete_journey"]

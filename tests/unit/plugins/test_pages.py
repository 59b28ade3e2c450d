"""The run's page in Airflow: written after the verdict, read only by who may read the DAG."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from fastapi.testclient import TestClient
from gate_reports import CHAMPION, attempt, make_report

from recommender import environment, registry, storage
from recommender.gate import Answer, Decision, Policy, decide
from recommender.locations import Locations
from recsys_emr import pages, pipeline
from recsys_emr.telling import WritePage

DATE = dt.date(2017, 12, 31)
ADDRESS = "/report/retrain_shop/2017-12-31/manual-1"


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    places = Locations(*(str(tmp_path / name) for name in ("lake", "work", "models")))
    monkeypatch.setattr(environment, "load", lambda: SimpleNamespace(locations=places))
    return places


def decided(locations: Locations, answer: Answer | None = None) -> Decision:
    decision = decide(make_report(champion=0.039), Policy(), attempt(), CHAMPION)
    decision = decision.answered(answer) if answer else decision
    registry.record_decision(locations, decision)
    return decision


class Told:
    dag_id = "retrain_shop"

    def __init__(self, decision: Decision | None) -> None:
        self.decision = decision.to_json() if decision else None
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        return self.decision

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def test_the_page_is_written_and_linked(locations: Locations) -> None:
    told = Told(decided(locations))
    context: Any = {"ti": told}
    uri = WritePage(task_id="page", gate="gate").execute(context)
    assert uri == locations.run("shop", DATE, "manual-1").page
    assert storage.read(uri).data.startswith(b"<!doctype html>")
    assert told.pushed["_link_PageLink"].endswith(f"/recsys{ADDRESS}")


def test_the_page_tells_the_latest_record_not_the_first_verdict(locations: Locations) -> None:
    first = decided(locations)
    decided(locations, Answer(approved=False, by="ana", at="2018-01-01T08:00:00+00:00"))
    page = storage.read(pipeline.write_page(first.to_json())).data.decode()
    assert "Rejected by ana" in page


def test_a_run_without_a_decision_has_no_page(locations: Locations) -> None:
    context: Any = {"ti": Told(None)}
    with pytest.raises(AirflowSkipException, match="has decided nothing"):
        WritePage(task_id="page", gate="gate").execute(context)
    assert storage.list_files(locations.work) == []


@pytest.mark.parametrize(
    ("dag_id", "snapshot", "run_key"),
    [
        ("sweep_clusters", "2017-12-31", "manual-1"),
        ("retrain_../../x", "2017-12-31", "manual-1"),
        ("retrain_shop", "yesterday", "manual-1"),
        ("retrain_shop", "2017-12-31", "../../../secret"),
        ("retrain_shop", "2017-12-31", "another-run"),
    ],
)
def test_only_pages_of_runs_are_found(
    locations: Locations, dag_id: str, snapshot: str, run_key: str
) -> None:
    pipeline.write_page(decided(locations).to_json())
    assert pages.fetch("retrain_shop", "2017-12-31", "manual-1")[0] == 200
    assert pages.fetch(dag_id, snapshot, run_key)[0] == 404


def test_nobody_reads_a_page_without_logging_in(locations: Locations) -> None:
    pipeline.write_page(decided(locations).to_json())
    answer = TestClient(pages.application).get(ADDRESS)
    assert answer.status_code == 401
    assert "Recall" not in answer.text


def test_the_page_is_served_so_that_nothing_in_it_can_run(locations: Locations) -> None:
    pipeline.write_page(decided(locations).to_json())
    app = pages._build()
    guards = [d.dependency for route in app.routes for d in getattr(route, "dependencies", [])]
    assert len(guards) == 1  # the test steps past Airflow's own check of the DAG's permission
    try:
        app.dependency_overrides.update(dict.fromkeys(guards, lambda: None))
        answer = TestClient(app).get(ADDRESS)
        missing = TestClient(app).get("/report/retrain_shop/2017-12-31/other")
    finally:
        app.dependency_overrides.clear()
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "All 11 rules pass." in answer.text
    assert (missing.status_code, "no page" in missing.text) == (404, True)


def test_airflow_mounts_the_pages() -> None:
    from airflow import plugins_manager

    apps, _ = plugins_manager.get_fastapi_plugins()
    assert {"name": "run reports", "url_prefix": "/recsys"}.items() <= next(
        app for app in apps if app["url_prefix"] == "/recsys"
    ).items()

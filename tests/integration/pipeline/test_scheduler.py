"""Runs under a real scheduler: by REST, by the form in a browser, by backfill, and through a kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow_stack
import pytest
from airflow_stack import PASSWORD, Stack, await_that
from cloud import LOCATIONS, Cloud

from recommender import registry, storage

pytestmark = [pytest.mark.airflow, pytest.mark.localaws, pytest.mark.spark]


@pytest.fixture(scope="module")
def stack(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack") / "airflow"
    with airflow_stack.running(home, cloud.aws, cloud.config) as running:
        yield running


def verdicts(recommender: str) -> dict[str, str]:
    """Return snapshot -> verdict of every recorded decision."""
    root = LOCATIONS.decisions(recommender)
    return {
        document["snapshot"]: document["verdict"]
        for file in storage.list_files(root)
        if (document := storage.read_json(file.uri))
    }


def test_a_killed_scheduler_goes_on_with_the_clusters_it_had(stack: Stack, cloud: Cloud) -> None:
    stack.unpause("retrain_shop_survivor")
    run_id = stack.trigger("retrain_shop_survivor", {"snapshot": "2024-03-31"})

    def waiting() -> bool:
        return stack.tasks("retrain_shop_survivor", run_id)["preprocess.wait"] == "deferred"

    await_that(waiting, 120, "the wait for the first cluster")
    stack.kill("scheduler")
    first = cloud.clusters_of(run_id)
    stack.start("scheduler")
    assert stack.await_run("retrain_shop_survivor", run_id) == "success"
    clusters = cloud.clusters_of(run_id)
    assert len(first) == 1
    assert first[0]["Id"] in {cluster["Id"] for cluster in clusters}
    assert len(clusters) == 2  # one a stage
    assert {cluster["Status"]["State"] for cluster in clusters} == {"TERMINATED"}


def test_a_backfill_leaves_the_newest_as_champion_though_it_came_first(stack: Stack) -> None:
    dag_id = "retrain_shop_backwards"
    stack.unpause(dag_id)
    stack.command(
        *("backfill", "create", "--dag-id", dag_id, "--max-active-runs", "1", "--run-backwards"),
        *("--from-date", "2024-01-31", "--to-date", "2024-04-01"),
    )

    def ended() -> bool:
        states = [run["state"] for run in stack.runs(dag_id) if run["run_type"] == "backfill"]
        assert "failed" not in states
        return states == ["success"] * 3

    await_that(ended, 500, "three backfill runs")
    assert verdicts("shop_backwards") == {
        "2024-01-31": "registered",
        "2024-02-29": "registered",
        "2024-03-31": "promoted",
    }
    versions = storage.list_children(LOCATIONS.versions("shop_backwards"))
    assert [version[:10] for version in versions] == ["2024-01-31", "2024-02-29", "2024-03-31"]
    champion = registry.load_champion(LOCATIONS, "shop_backwards")
    assert champion is not None
    assert champion[0].snapshot.isoformat() == "2024-03-31"

    # The schedule, too, has started a run: for its latest date, which has no snapshot. It is about
    # the past, so it does not wait for one, and it must not end green.
    def scheduled() -> str | None:
        runs = [run for run in stack.runs(dag_id) if run["run_type"] == "scheduled"]
        return next((run["state"] for run in runs if run["state"] in {"success", "failed"}), None)

    assert await_that(scheduled, 120, "the end of the scheduled run") == "failed"


@pytest.mark.browser
def test_the_trigger_form_starts_a_run(stack: Stack, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH to drive the form with (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    stack.unpause("retrain_shop_bad")
    before = {run["dag_run_id"] for run in stack.runs("retrain_shop_bad")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1100})
        fill_form(page, stack.url, tmp_path)
        browser.close()

    def started() -> Any:
        runs = stack.runs("retrain_shop_bad")
        return next((run for run in runs if run["dag_run_id"] not in before), None)

    run = await_that(started, 30, "the run that the form starts")
    assert run["conf"]["k"] == 5
    assert run["conf"]["snapshot"] == "2024-02-29"
    assert stack.await_run("retrain_shop_bad", run["dag_run_id"]) == "success"
    assert verdicts("shop_bad")["2024-02-29"] == "refused"


def fill_form(page: Any, url: str, pictures: Path) -> None:
    """Log in, open the DAG, set two Params in the form and press the button."""
    page.goto(f"{url}/dags/retrain_shop_bad")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("[name='element_snapshot']").fill("2024-02-29")
    page.locator("[name='element_k']").fill("5")
    page.screenshot(path=str(pictures / "form.png"))
    page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
    page.wait_for_url("**/runs/**")
    page.screenshot(path=str(pictures / "run.png"))

"""Runs under a real scheduler: by REST, by the form in a browser, by backfill, and through a kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from airflow_stack import PASSWORD, Stack, await_that
from cloud import LOCATIONS, Cloud

from recommender import artifact, manifest, registry, storage
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.locations import join
from recommender.registry import pointer, recommendations

pytestmark = [pytest.mark.airflow, pytest.mark.localaws, pytest.mark.spark]


def verdicts(recommender: str) -> dict[str, str]:
    """Return snapshot -> verdict of every recorded decision."""
    root = LOCATIONS.decisions(recommender)
    return {
        document["snapshot"]: document["verdict"]
        for file in storage.list_files(root)
        if (document := storage.read_json(file.uri))
    }


def await_terminated(cloud: Cloud, run_id: str) -> list[dict[str, Any]]:
    """Return a run's clusters once all have ended: a wait is over when the steps are."""

    def ended() -> list[dict[str, Any]] | None:
        clusters = cloud.clusters_of(run_id)
        states = {cluster["Status"]["State"] for cluster in clusters}
        return clusters if states == {"TERMINATED"} else None

    return list(await_that(ended, 60, f"the end of the clusters of {run_id}"))


def test_a_killed_scheduler_goes_on_with_the_clusters_it_had(stack: Stack, cloud: Cloud) -> None:
    stack.unpause("recommend_shop_survivor")
    stack.unpause("retrain_shop_survivor")
    run_id = stack.trigger("retrain_shop_survivor", {"snapshot": "2024-03-31"})

    def waiting() -> bool:
        return stack.tasks("retrain_shop_survivor", run_id)["preprocess.wait"] == "deferred"

    await_that(waiting, 120, "the wait for the first cluster")
    stack.kill("scheduler")
    first = cloud.clusters_of(run_id)
    stack.start("scheduler")
    assert stack.await_run("retrain_shop_survivor", run_id) == "success"
    clusters = await_terminated(cloud, run_id)
    assert len(first) == 1
    assert first[0]["Id"] in {cluster["Id"] for cluster in clusters}
    assert len(clusters) == 2  # one a stage


def test_a_champion_that_moved_brings_everyones_lists(stack: Stack, cloud: Cloud) -> None:
    """The promotion of the test above was announced; this run is nobody's but the scheduler's."""
    dag_id = "recommend_shop_survivor"
    runs = await_that(lambda: stack.runs(dag_id), 60, "the run that the asset starts")
    assert [run["run_type"] for run in runs] == ["asset_triggered"]
    run_id = runs[0]["dag_run_id"]
    assert stack.await_run(dag_id, run_id) == "success"
    champion = registry.read_champion(LOCATIONS, "shop_survivor")
    latest = recommendations.read(LOCATIONS, "shop_survivor")
    assert champion is not None
    assert latest is not None
    assert latest.version == champion[0].version
    sealed = manifest.verify(latest.uri, recommendations.KIND)
    assert len(await_terminated(cloud, run_id)) == 1
    counts = stack.xcom(dag_id, run_id, "read_counts")
    check_lists(latest.uri, champion[0].uri, sealed.about["dataset"]["uri"], counts)


def check_lists(uri: str, version: str, dataset_uri: str, counts: dict[str, Any]) -> None:
    """Everyone has a list without what they have; who took nothing new has the evaluator's, row by row."""
    dataset, model = open_dataset(dataset_uri), artifact.load(version).models[artifact.ALS]
    seen = dataset.pairs(TRAIN, VALIDATION, TEST)
    with storage.local_copy(join(uri, "users")) as folder:
        rows = pq.read_table(folder).to_pylist()
    lists: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lists.setdefault(row["user_id"], []).append(row)
    users, items = dataset.users.to_pylist(), dataset.items.to_pylist()
    assert set(lists) == set(users)
    assert counts["users"] == len(users)
    assert counts["user_rows"] == len(rows)
    compared = 0
    for index, user in enumerate(users):
        listed = [row["item_id"] for row in lists[user]]
        assert [row["rank"] for row in lists[user]] == list(range(1, len(listed) + 1))
        assert not set(listed) & {items[item] for item in seen[index].indices}
        if lists[user][0]["source"] == "personal":
            best = model.recommend(np.array([index], np.int32), len(listed), seen).items[0]
            assert listed == [items[item] for item in best]
            compared += 1
    assert compared == counts["users_personal"] > 0


def start_backfill(stack: Stack, dag_id: str, since: str, *arguments: str) -> None:
    stack.unpause(dag_id)
    dates = "--from-date", since, "--to-date", "2024-04-01"
    stack.command("backfill", "create", "--dag-id", dag_id, *dates, *arguments)


def await_backfill(stack: Stack, dag_id: str, runs: int) -> None:
    def ended() -> bool:
        states = [run["state"] for run in stack.runs(dag_id) if run["run_type"] == "backfill"]
        assert "failed" not in states
        return states == ["success"] * runs

    await_that(ended, 500, f"{runs} backfill runs of {dag_id}")


def test_a_backfill_leaves_the_newest_as_champion_though_it_came_first(stack: Stack) -> None:
    dag_id = "retrain_shop_backwards"
    start_backfill(stack, dag_id, "2024-01-31", "--max-active-runs", "1", "--run-backwards")
    await_backfill(stack, dag_id, 3)
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


def test_two_backfill_runs_at_a_time_end_in_the_same_state(stack: Stack) -> None:
    """Neither run is refused for the other's having been first.

    It is created while nothing else runs: Airflow's command line writes beside the scheduler, and
    SQLite refuses the second writer at once where it has read before.
    """
    start_backfill(stack, "retrain_shop_parallel", "2024-02-29", "--max-active-runs", "2")
    await_backfill(stack, "retrain_shop_parallel", 2)
    found = verdicts("shop_parallel")
    assert found["2024-03-31"] == "promoted"
    assert found["2024-02-29"] in {"promoted", "registered"}  # whichever was first
    versions = storage.list_children(LOCATIONS.versions("shop_parallel"))
    assert [version[:10] for version in versions] == ["2024-02-29", "2024-03-31"]
    champion = registry.load_champion(LOCATIONS, "shop_parallel")
    assert champion is not None
    assert champion[0].snapshot.isoformat() == "2024-03-31"
    records = pointer.history(LOCATIONS, "shop_parallel")
    assert len(records) == list(found.values()).count("promoted")


@pytest.fixture
def chromium() -> Iterator[Any]:
    """Open a page of a real browser; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on the PATH to drive the UI with (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser.new_page(viewport={"width": 1400, "height": 1100})
        browser.close()


@pytest.mark.browser
def test_the_trigger_form_starts_a_run_and_its_task_leads_to_the_runs_page(
    stack: Stack, chromium: Any, tmp_path: Path
) -> None:
    stack.unpause("retrain_shop_bad")
    before = {run["dag_run_id"] for run in stack.runs("retrain_shop_bad")}
    fill_form(chromium, stack.url, tmp_path)

    def started() -> Any:
        runs = stack.runs("retrain_shop_bad")
        return next((run for run in runs if run["dag_run_id"] not in before), None)

    run = await_that(started, 30, "the run that the form starts")
    assert run["conf"]["k"] == 5
    assert run["conf"]["snapshot"] == "2024-02-29"
    assert stack.await_run("retrain_shop_bad", run["dag_run_id"]) == "success"
    assert verdicts("shop_bad")["2024-02-29"] == "refused"
    report = open_report(chromium, stack.url, run["dag_run_id"], tmp_path)
    (record,) = storage.list_files(f"{LOCATIONS.decisions('shop_bad')}/2024-02-29")
    assert storage.read_json(record.uri)["reason"] in report


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
    page.goto("about:blank")  # an open page asks and draws for as long as the run takes


def open_report(page: Any, url: str, run_id: str, pictures: Path) -> str:
    """Click on the task's button, which Airflow shows below *Details*; return the page's words."""
    page.goto(f"{url}/dags/retrain_shop_bad/runs/{run_id}/tasks/page")
    page.get_by_role("link", name="Details").click()
    page.screenshot(path=str(pictures / "details.png"))
    page.get_by_role("link", name="Run report").click()
    page.wait_for_url("**/recsys/report/retrain_shop_bad/2024-02-29/**")
    page.screenshot(path=str(pictures / "report.png"), full_page=True)
    return str(page.inner_text("body"))

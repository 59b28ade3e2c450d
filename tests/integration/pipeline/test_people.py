"""What people do: answer whether to promote, and look at what a run in shadow mode would have done."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow_stack import Stack, await_that
from cloud import LOCATIONS

from recommender import registry, storage

pytestmark = [pytest.mark.airflow, pytest.mark.localaws, pytest.mark.spark]

ASKED, SHADOW = "retrain_shop_asked", "retrain_shop_shadow"


@pytest.fixture(scope="module")
def runs(stack: Stack) -> dict[str, str]:
    """Start two runs that will ask a person, and one in shadow mode, side by side."""
    stack.unpause(ASKED)
    stack.unpause(SHADOW)
    return {
        "refuse": stack.trigger(ASKED, {"snapshot": "2024-01-31"}),
        "promote": stack.trigger(ASKED, {"snapshot": "2024-02-29"}),
        "shadow": stack.trigger(SHADOW, {"snapshot": "2024-01-31"}),
    }


def asked(stack: Stack, run_id: str) -> dict[str, Any]:
    """Wait until the run asks and the scheduler has seen it pause, and return the question.

    An answer of the first moments finds a scheduler that still holds the task for running: Airflow 3.3
    then takes it for lost and asks again. No person is that quick.
    """

    def waiting() -> Any:
        assert stack.tasks(ASKED, run_id).get("judge_run") not in {"success", "failed"}
        found = stack.call("GET", f"/dags/{ASKED}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
        if not found or stack.tasks(ASKED, run_id)["approve"] != "awaiting_input":
            return None
        scheduler = stack.call("GET", "/monitor/health")["scheduler"]
        since = dt.datetime.fromisoformat(found[0]["created_at"]) + dt.timedelta(seconds=1)
        seen = dt.datetime.fromisoformat(scheduler["latest_scheduler_heartbeat"])
        return found[0] if seen > since else None

    question = await_that(waiting, 500, f"the question of {run_id}")
    assert not question["response_received"]
    return dict(question)


def answer(stack: Stack, run_id: str, option: str) -> None:
    path = f"/dags/{ASKED}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    stack.call("PATCH", path, {"chosen_options": [option]})


def decision(recommender: str, snapshot: str) -> dict[str, Any]:
    (file,) = storage.list_files(f"{LOCATIONS.decisions(recommender)}/{snapshot}")
    return dict(storage.read_json(file.uri))


def test_a_no_refuses_what_the_gate_would_promote(stack: Stack, runs: dict[str, str]) -> None:
    question = asked(stack, runs["refuse"])
    assert question["subject"] == "Promote shop_asked?"
    assert "**promoted (once approved)**" in question["body"]
    for rule in ("beats_baseline", "gain_is_certain", "covers_catalogue"):
        assert f"| {rule} | pass" in question["body"]
    assert f"/recsys/report/{ASKED}/2024-01-31/" in question["body"]
    answer(stack, runs["refuse"], "Reject")
    assert stack.await_run(ASKED, runs["refuse"]) == "success"
    tasks = stack.tasks(ASKED, runs["refuse"])
    assert (tasks["approve"], tasks["publish"]) == ("success", "skipped")
    record = decision("shop_asked", "2024-01-31")
    assert record["verdict"] == "refused"
    assert (record["approval"]["approved"], record["approval"]["by"]) == (False, "admin")
    assert storage.list_children(LOCATIONS.versions("shop_asked")) in ([], ["2024-02-29"])


def test_a_yes_promotes_and_nothing_before_it(stack: Stack, runs: dict[str, str]) -> None:
    asked(stack, runs["promote"])
    assert registry.read_champion(LOCATIONS, "shop_asked") is None
    answer(stack, runs["promote"], "Approve")
    assert stack.await_run(ASKED, runs["promote"]) == "success"
    tasks = stack.tasks(ASKED, runs["promote"])
    assert (tasks["publish"], tasks["refuse"]) == ("success", "skipped")
    record = decision("shop_asked", "2024-02-29")
    assert record["verdict"] == "promoted"
    assert (record["approval"]["approved"], record["approval"]["by"]) == (True, "admin")
    champion = registry.read_champion(LOCATIONS, "shop_asked")
    assert champion is not None
    assert champion[0].snapshot.isoformat() == "2024-02-29"


def test_a_shadow_run_decides_is_judged_and_publishes_nothing(
    stack: Stack, runs: dict[str, str]
) -> None:
    assert stack.await_run(SHADOW, runs["shadow"]) == "success"
    tasks = stack.tasks(SHADOW, runs["shadow"])
    assert "publish" not in tasks
    assert (tasks["observe"], tasks["page"], tasks["judge_run"]) == ("success",) * 3
    record = decision("shop_shadow", "2024-01-31")
    assert (record["verdict"], record["acts"]) == ("promoted", False)
    assert storage.list_children(LOCATIONS.versions("shop_shadow")) == []

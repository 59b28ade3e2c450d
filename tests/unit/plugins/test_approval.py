"""A person's answer: what he reads, what is recorded, and that nothing is published without a yes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from gate_reports import CHAMPION, attempt, make_report

from recommender import environment, registry, storage
from recommender.errors import ConflictError
from recommender.gate import Answer, Decision, Policy, decide
from recommender.locations import Locations
from recsys_emr import pipeline
from recsys_emr.approval import AskForApproval, question, read_answer

AT = dt.datetime(2018, 1, 1, 8, tzinfo=dt.UTC)
ANA = {"id": "7", "name": "ana"}
ASKS = Policy(approval=True)


def event(option: str, user: dict[str, str] | None) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": AT,
        "responded_by_user": user,
        "timedout": user is None,
    }


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    places = Locations(*(str(tmp_path / name) for name in ("lake", "work", "models")))
    monkeypatch.setattr(environment, "load", lambda: SimpleNamespace(locations=places))
    return places


@pytest.mark.parametrize(
    ("option", "user", "expected"),
    [
        ("Approve", ANA, Answer(approved=True, by="ana", at="2018-01-01T08:00:00+00:00")),
        ("Reject", ANA, Answer(approved=False, by="ana", at="2018-01-01T08:00:00+00:00")),
        ("Reject", None, Answer(approved=False, by=None, at="2018-01-01T08:00:00+00:00")),
    ],
)
def test_an_answer_tells_who_and_when(
    option: str, user: dict[str, str] | None, expected: Answer
) -> None:
    assert read_answer(event(option, user)) == expected


class Told:
    """The task instance as the operator sees it."""

    def __init__(self, decision: dict[str, Any]) -> None:
        self.decision = decision
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        assert (task_ids, key) == ("gate", "decision")
        return self.decision

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.mark.parametrize(
    ("option", "user", "verdict", "skipped"),
    [
        ("Approve", ANA, "promoted", []),
        ("Reject", ANA, "refused", ["publish"]),
        ("Reject", None, "refused", ["publish"]),  # the time limit
    ],
)
def test_the_answer_is_recorded_and_a_no_skips_the_publication(
    locations: Locations,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    user: dict[str, str] | None,
    verdict: str,
    skipped: list[str],
) -> None:
    with DAG("retrain_shop", schedule=None):

        @task
        def publish() -> None:
            """Publish."""

        ask = AskForApproval(task_id="approve", gate="gate", hours=2)
        ask >> publish()
    skips: list[str] = []
    monkeypatch.setattr(ask, "skip", lambda ti, tasks: skips.extend(t.task_id for t in tasks))
    decision = decide(make_report(champion=0.039), ASKS, attempt(), CHAMPION)
    told = Told(decision.to_json())
    context: Any = {"ti": told, "task": ask}
    ask.execute_complete(context, event(option, user))
    assert skips == skipped
    record = storage.read_json(
        locations.decision("shop", decision.attempt.snapshot, decision.attempt.run_key)
    )
    assert record == told.pushed["decision"]
    assert (record["verdict"], record["acts"]) == (verdict, verdict == "promoted")
    assert record["approval"]["by"] == (user["name"] if user else None)


def test_silence_is_a_rejection_and_the_wait_holds_no_short_limit() -> None:
    ask = AskForApproval(task_id="approve", gate="gate", hours=2)
    assert ask.defaults == ["Reject"]
    assert ask.response_timeout == dt.timedelta(hours=2)
    assert ask.execution_timeout is None


def test_the_question_is_the_decisions_table() -> None:
    decision = decide(make_report(champion=0.039), ASKS, attempt(), CHAMPION)
    text = question(decision.to_json(), "https://airflow/recsys/report")
    assert text.startswith("**promoted (once approved)**: All 11 rules pass.")
    for rule in decision.rules:
        assert f"| {rule.name} | pass |" in text
    assert text.endswith("[The run report](https://airflow/recsys/report)")


@pytest.mark.parametrize(
    ("policy", "als", "expected"),
    [
        (Policy(), 0.04, "publish"),
        (Policy(), 0.01, "refuse"),
        (ASKS, 0.04, "approve"),
        (ASKS, 0.01, "refuse"),
        (Policy(mode="shadow"), 0.04, "observe"),
        (Policy(mode="shadow"), 0.01, "observe"),
        (Policy(mode="shadow", approval=True), 0.04, "observe"),
    ],
)
def test_a_decision_leads_to_one_task(policy: Policy, als: float, expected: str) -> None:
    decision = decide(make_report(als=als), policy, attempt(), None)
    assert pipeline.next_task(decision.to_json()) == expected


def test_an_older_snapshot_is_registered_without_asking() -> None:
    report = make_report(champion=0.039)
    decision = decide(report, ASKS, attempt("2017-10-31"), CHAMPION)
    assert (decision.verdict, pipeline.next_task(decision.to_json())) == ("registered", "publish")


@pytest.mark.parametrize("policy", [ASKS, Policy(mode="shadow")])
def test_the_registry_publishes_nothing_in_shadow_mode_or_before_the_yes(
    locations: Locations, policy: Policy
) -> None:
    decision = decide(make_report(), policy, attempt(), None)
    assert decision.verdict == "promoted"
    with pytest.raises(ValueError, match="expected a promoted or registered candidate"):
        registry.publish(locations, decision, "candidate", "report")
    assert storage.list_files(locations.models) == []
    done = pipeline.publish({"candidate": "c", "report": "r"}, decision.to_json(), decision.to_json)
    assert done is not None  # the DAG's task ends green and says so
    assert done["reason"]
    assert not done["champion_moved"]


def test_what_was_approved_is_not_decided_again_behind_the_persons_back(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = decide(make_report(), ASKS, attempt(), None)
    approved = decision.answered(read_answer(event("Approve", ANA)))

    def lose(*arguments: Any) -> None:
        raise ConflictError("expected champion none, found another.")

    monkeypatch.setattr(registry, "publish", lose)
    with pytest.raises(AirflowFailException, match="clear the task gate"):
        pipeline.publish({"candidate": "c", "report": "r"}, approved.to_json(), decision.to_json)


def test_a_decision_that_was_stored_awaiting_is_read_back_awaiting() -> None:
    decision = decide(make_report(), ASKS, attempt(), None)
    assert Decision.from_json(decision.to_json()).awaits_answer

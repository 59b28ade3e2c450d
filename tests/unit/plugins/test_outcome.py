"""How a cluster's end is judged."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_emr.outcome import judge


def cluster(state: str, code: str, message: str = "", **status: Any) -> dict[str, Any]:
    reason = {"Code": code, "Message": message}
    return {"Status": {"State": state, "StateChangeReason": reason, **status}}


def step(state: str, **status: Any) -> dict[str, Any]:
    return {"Id": "s-1", "Name": "preprocess", "Status": {"State": state, **status}}


def test_success_is_all_steps_completed_and_nothing_else() -> None:
    assert judge(cluster("TERMINATED", "ALL_STEPS_COMPLETED"), [step("COMPLETED")]).succeeded


@pytest.mark.parametrize(
    ("state", "code", "step_state"),
    [
        ("TERMINATED", "USER_REQUEST", "COMPLETED"),  # somebody, or the idle time-out
        ("TERMINATED", "ALL_STEPS_COMPLETED", "FAILED"),  # ActionOnFailure=CONTINUE
        ("TERMINATED", "ALL_STEPS_COMPLETED", "CANCELLED"),
        ("TERMINATED_WITH_ERRORS", "STEP_FAILURE", "FAILED"),
        ("TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", "CANCELLED"),
        ("TERMINATED_WITH_ERRORS", "ALL_STEPS_COMPLETED", "COMPLETED"),
        ("RUNNING", "", "COMPLETED"),
        ("WAITING", "", "COMPLETED"),
    ],
)
def test_every_other_end_is_a_failure(state: str, code: str, step_state: str) -> None:
    assert not judge(cluster(state, code), [step(step_state)]).succeeded


def test_a_cluster_without_steps_has_not_done_its_work() -> None:
    assert not judge(cluster("TERMINATED", "ALL_STEPS_COMPLETED"), []).succeeded


def test_the_explanation_names_the_step_the_reason_and_the_details() -> None:
    details = {"Reason": "Unknown Error.", "Message": "exit code 3", "LogFile": "s3://w/stderr.gz"}
    ended = cluster(
        "TERMINATED_WITH_ERRORS",
        "STEP_FAILURE",
        "Shut down as step failed",
        ErrorDetails=[{"ErrorCode": "STEP_1", "ErrorMessage": "the disk is full"}],
    )
    text = judge(ended, [step("FAILED", FailureDetails=details)]).explain("j-7")
    for part in (
        "j-7", "STEP_FAILURE", "Shut down as step failed", "STEP_1 the disk is full",
        "preprocess (s-1) FAILED", "exit code 3", "s3://w/stderr.gz",
    ):  # fmt: skip
        assert part in text

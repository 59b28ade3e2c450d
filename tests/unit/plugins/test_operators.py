"""A stage's three tasks against an EMR that loses answers, throttles and runs out of machines."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from botocore.exceptions import ClientError, ConnectionClosedError

from recommender import manifest
from recommender.clusters import pricing
from recommender.clusters.pricing import Cost
from recsys_emr.costs import Allowance, stage_cost
from recsys_emr.operators import SubmitCluster, TerminateCluster, WaitForCluster
from recsys_emr.triggers import ClusterEndTrigger

CODE = {"uri": "s3://recsys-work/code/0123", "content_hash": "0123"}
Make = Callable[..., Any]


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    steps = [{"job": "preprocess", "arguments": ["--snapshot", "s3://lake/x"]}]
    return {"steps": steps, "produces": {str(tmp_path / "dataset"): "dataset"}}


def seal(plan: dict[str, Any]) -> None:
    """Leave behind what the job does."""
    for directory, kind in plan["produces"].items():
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / "part.json").write_text("{}")
        manifest.seal(directory, kind)


def write_logs(env: Any, cluster_id: str, **streams: str) -> None:
    folder = Path(env.work) / "emr-logs" / cluster_id / "steps" / "s-1"
    folder.mkdir(parents=True)
    for stream, text in streams.items():
        (folder / f"{stream}.gz").write_bytes(gzip.compress(text.encode()))


def submit_task(plan: dict[str, Any]) -> SubmitCluster:
    return SubmitCluster(
        task_id="submit", stage="preprocess", shape="preprocessing", code=CODE, plan=plan
    )


def wait_task(cluster_id: str, plan: dict[str, Any], **kwargs: Any) -> WaitForCluster:
    kwargs = {"stage": "preprocess", "code": CODE, **kwargs}
    return WaitForCluster(
        task_id="wait", cluster_id=cluster_id, shape="preprocessing", plan=plan, **kwargs
    )


def deferred(call: Callable[..., Any], *args: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        call(*args)
    return raised.value


def go_on(task: Any, pause: TaskDeferred, context: Any, event: Any) -> Any:
    """Come back from a deferral as Airflow does."""
    return task.resume_execution(
        pause.method_name, {**(pause.kwargs or {}), "event": event}, context
    )


def ended(pause: TaskDeferred) -> dict[str, Any]:
    assert isinstance(pause.trigger, ClusterEndTrigger)
    return {"cluster_id": pause.trigger.cluster_id, "state": "TERMINATED"}


# Submit


def test_submit_makes_a_tagged_cluster(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    run = context()
    cluster_id = submit_task(plan).execute(run)
    assert emr.live == [cluster_id]
    tags = emr.tags(cluster_id)
    assert tags["recsys:dag"] == "retrain_shop"
    assert tags["recsys:run"] == "manual__2026-11-22"
    assert tags["recsys:stage"] == "preprocess"
    assert tags["recsys:work"] == env.work
    assert tags["recsys:ticket"] == "2.1"
    assert cluster_id in run["ti"].xcom["_link_ClusterLink"]


@pytest.mark.parametrize("end", ["alive", "ended well", "failed"])
def test_a_retry_adopts_what_its_own_series_made(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], end: str
) -> None:
    first = submit_task(plan).execute(context())
    if end == "ended well":
        emr.complete(first)
    elif end == "failed":
        emr.end(first, "TERMINATED_WITH_ERRORS", "STEP_FAILURE", step="FAILED")
    assert submit_task(plan).execute(context()) == first
    assert emr.calls.count("RunJobFlow") == 1


def test_a_retry_after_somebody_ended_the_cluster_makes_another(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    first = submit_task(plan).execute(context())
    emr.end(first, "TERMINATED", "USER_REQUEST", "Terminated by user request")
    second = submit_task(plan).execute(context())
    assert second != first
    assert emr.live == [second]


@pytest.mark.parametrize("alive", [True, False])
def test_a_clear_makes_a_new_cluster_and_ends_the_old_one(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], alive: bool
) -> None:
    first = submit_task(plan).execute(context(max_tries=2))
    if not alive:
        emr.complete(first)
    second = submit_task(plan).execute(context(max_tries=3))  # as Airflow does on Clear
    assert second != first
    assert emr.live == [second]


def test_other_runs_stages_and_airflows_are_not_adopted(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    mine = submit_task(plan).execute(context())
    other_run = submit_task(plan).execute(context(run_id="manual__other"))
    foreign = emr.clusters[mine]["Tags"]
    foreign[:] = [tag for tag in foreign if tag["Key"] != "recsys:work"]
    foreign.append({"Key": "recsys:work", "Value": "s3://another-airflow"})
    assert submit_task(plan).execute(context()) not in {mine, other_run}
    assert len(emr.live) == 3


def test_a_lost_answer_is_looked_for_at_once(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    emr.faults["RunJobFlow"] = [("lose", "")]
    cluster_id = submit_task(plan).execute(context())
    assert emr.live == [cluster_id]
    assert emr.calls.count("RunJobFlow") == 1


def test_an_answer_lost_before_the_cluster_can_be_seen_is_found_by_the_retry(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    emr.faults["RunJobFlow"] = [("lose", "")]
    emr.list_lags = True
    with pytest.raises(ConnectionClosedError):  # no AirflowFailException: Airflow retries
        submit_task(plan).execute(context())
    emr.list_lags = False
    assert submit_task(plan).execute(context()) == emr.live[0]
    assert emr.calls.count("RunJobFlow") == 1


def test_a_server_error_is_left_to_airflows_retry(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    emr.faults["RunJobFlow"] = [("down", "")]
    with pytest.raises(ClientError, match="InternalServerError"):
        submit_task(plan).execute(context())
    assert emr.calls.count("RunJobFlow") == 1  # botocore must not repeat it by itself


def test_a_throttled_submit_pauses_without_a_worker_and_gives_up_in_the_end(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    emr.faults["RunJobFlow"] = [("throttle", "")] * 2
    task, run = submit_task(plan), context()
    pause = deferred(task.execute, run)
    again = deferred(go_on, task, pause, run, None)
    assert go_on(task, again, run, None) == emr.live[0]

    emr.faults["RunJobFlow"] = [("throttle", "")] * 9
    task, run = submit_task(plan), context(run_id="manual__2")
    pause = deferred(task.execute, run)
    for _ in range(3):
        pause = deferred(go_on, task, pause, run, None)
    with pytest.raises(AirflowFailException, match="class: throttled"):
        go_on(task, pause, run, None)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("ValidationException", "bad configuration"), ("AccessDeniedException", "permission")],
)
def test_any_other_refusal_is_final(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], code: str, kind: str
) -> None:
    emr.faults["RunJobFlow"] = [("refuse", code)]
    with pytest.raises(AirflowFailException, match=f"class: {kind}"):
        submit_task(plan).execute(context())
    assert emr.live == []


def test_a_throttled_search_is_repeated(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    emr.faults["ListClusters"] = [("throttle", "")] * 3
    assert submit_task(plan).execute(context()) == emr.live[0]


def test_killing_the_submit_terminates_what_it_made(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    task = submit_task(plan)
    task.on_kill()  # before anything was made
    assert emr.calls == []
    task = submit_task(plan)
    task.execute(context())
    task.on_kill()
    assert emr.live == []


def test_killing_the_submit_while_emr_answers_leaves_nothing(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, original = submit_task(plan), emr.RunJobFlow
    emr.list_lags = True  # the kill comes before the cluster can be seen

    def killed_meanwhile(data: dict[str, Any]) -> dict[str, Any]:
        task.on_kill()
        answer: dict[str, Any] = original(data)
        return answer

    monkeypatch.setattr(emr, "RunJobFlow", killed_meanwhile)
    with pytest.raises(AirflowException, match="killed"):
        task.execute(context())
    assert emr.clusters
    assert emr.live == []


# Wait


def test_wait_passes_when_the_cluster_ended_well_and_left_its_output(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    cluster_id = submit_task(plan).execute(context())
    task, run = wait_task(cluster_id, plan), context()
    pause = deferred(task.execute, run)
    assert pause.trigger.serialize()[1]["cluster_id"] == cluster_id
    emr.complete(cluster_id)
    seal(plan)
    go_on(task, pause, run, ended(pause))
    assert run["ti"].xcom["attempts"] == [{"cluster_id": cluster_id, "attempt": 1, "kind": None}]


def test_completed_steps_without_output_are_a_failure(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    cluster_id = submit_task(plan).execute(context())
    task, run = wait_task(cluster_id, plan), context()
    pause = deferred(task.execute, run)
    emr.complete(cluster_id)
    with pytest.raises(AirflowFailException, match="class: no output"):
        go_on(task, pause, run, ended(pause))


CAPACITY = ("INSTANCE_FLEET_TIMEOUT", "Failed to provision: insufficient capacity")


def fail(emr: Any, cluster_id: str, code: str, text: str) -> None:
    emr.end(cluster_id, "TERMINATED_WITH_ERRORS", code, text)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (*CAPACITY, "capacity"),
        ("INSTANCE_FAILURE", "The Spot instance was reclaimed", "spot loss"),
        ("INTERNAL_ERROR", "Request limit exceeded", "throttled"),
    ],
)
def test_what_may_go_better_is_tried_again_on_a_new_cluster(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], code: str, text: str, kind: str
) -> None:
    first = submit_task(plan).execute(context())
    task, run = wait_task(first, plan), context()
    pause = deferred(task.execute, run)
    fail(emr, first, code, text)
    pause = deferred(go_on, task, pause, run, ended(pause))
    assert run["ti"].xcom["attempts"][0]["kind"] == kind
    pause = deferred(go_on, task, pause, run, None)
    (second,) = emr.live
    assert emr.tags(second)["recsys:ticket"] == "2.2"
    assert second in run["ti"].xcom["_link_ClusterLink"]
    emr.complete(second)
    seal(plan)
    go_on(task, pause, run, ended(pause))
    assert [entry["cluster_id"] for entry in run["ti"].xcom["attempts"]] == [first, second]


def test_attempts_are_bounded(emr: Any, env: Any, context: Make, plan: dict[str, Any]) -> None:
    first = submit_task(plan).execute(context())
    task, run = wait_task(first, plan, attempts=3), context()
    pause = deferred(task.execute, run)
    for _ in range(2):
        fail(emr, emr.live[0], *CAPACITY)
        pause = deferred(go_on, task, pause, run, ended(pause))
        pause = deferred(go_on, task, pause, run, None)
    fail(emr, emr.live[0], *CAPACITY)
    with pytest.raises(AirflowFailException, match="class: capacity"):
        go_on(task, pause, run, ended(pause))
    assert emr.calls.count("RunJobFlow") == 3
    assert [a["kind"] for a in run["ti"].xcom["attempts"]] == ["capacity"] * 3


def failed_once(
    emr: Any, context: Make, plan: dict[str, Any], allowance: Allowance
) -> Callable[[], Any]:
    """Let the first cluster cost an hour and lose its machines; return how the wait goes on."""
    emr.hours = 1.0  # 0.2471 USD with its disk; two minutes are 0.0082
    first = submit_task(plan).execute(context())
    task, run = wait_task(first, plan, allowance=allowance), context()
    pause = deferred(task.execute, run)
    fail(emr, first, "INSTANCE_FAILURE", "The Spot instance was reclaimed")
    return lambda: go_on(task, pause, run, ended(pause))


def test_another_attempt_beyond_the_budget_is_not_made_and_both_reasons_are_told(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    go = failed_once(emr, context, plan, Allowance(0.25))
    with pytest.raises(AirflowFailException) as raised:
        go()
    text = str(raised.value)
    assert "class: spot loss" in text
    assert "attempt 2 of 3 is not made: expected a run within budget_usd 0.25" in text
    assert "found 0.2471 USD spent and 0.0082 USD to come" in text
    assert emr.calls.count("RunJobFlow") == 1


def test_another_attempt_within_the_budget_is_made(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    assert deferred(failed_once(emr, context, plan, Allowance(0.256))).method_name == "relaunch"


@pytest.mark.parametrize("part", ["a stage before", "a stage after"])
def test_another_attempt_leaves_what_other_stages_take(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], part: str
) -> None:
    later = ("single_node",) if part == "a stage after" else ()
    if part == "a stage before":
        cost = Cost(0.005, 0.02, ())
        plan["spent"] = [stage_cost("preprocess", cost, pricing.load("us-east-1"), simulated=True)]
    with pytest.raises(AirflowFailException, match="attempt 2 of 3 is not made"):
        failed_once(emr, context, plan, Allowance(0.256, later))()


def test_a_spent_budget_that_emr_does_not_tell_is_asked_for_again(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    go = failed_once(emr, context, plan, Allowance(1.0))
    emr.faults["ListInstances"] = [("refuse", "InternalServerException")] * 8
    with pytest.raises(ClientError):  # no AirflowFailException: Airflow retries the wait
        go()
    assert emr.calls.count("RunJobFlow") == 1


def test_without_a_budget_nothing_is_priced_between_attempts(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    deferred(failed_once(emr, context, plan, Allowance()))
    assert "ListInstances" not in emr.calls


def test_without_stage_and_code_there_is_one_attempt(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    first = submit_task(plan).execute(context())
    task, run = wait_task(first, plan, stage=None, code=None), context()
    pause = deferred(task.execute, run)
    fail(emr, first, *CAPACITY)
    with pytest.raises(AirflowFailException, match="class: capacity"):
        go_on(task, pause, run, ended(pause))


def test_a_wait_killed_in_its_second_attempt_goes_on_with_it(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    first = submit_task(plan).execute(context())
    task, run = wait_task(first, plan), context()
    pause = deferred(task.execute, run)
    fail(emr, first, *CAPACITY)
    pause = deferred(go_on, task, pause, run, ended(pause))
    emr.faults["RunJobFlow"] = [("lose", "")]
    emr.list_lags = True
    with pytest.raises(ConnectionClosedError):  # the worker's end, for all that Airflow knows
        go_on(task, pause, run, None)
    emr.list_lags = False
    (second,) = emr.live
    retry, run = wait_task(first, plan), context(try_number=2)
    pause = deferred(retry.execute, run)
    assert pause.trigger.serialize()[1]["cluster_id"] == second
    assert emr.calls.count("RunJobFlow") == 2


@pytest.mark.parametrize(
    ("last_words", "kind"),
    [
        ("error: s3://x: 9 of 10 lines are bad, expected (preprocess.bad_line_budget)", "bad data"),
        ("error: expected a thing, found none: bring one", "named error of the job"),
        ("error: unexpected MemoryError: array (the traceback is above)", "out of memory"),
    ],
)
def test_a_failed_step_is_never_tried_again_and_shows_its_log(
    emr: Any,
    env: Any,
    context: Make,
    plan: dict[str, Any],
    last_words: str,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster_id = submit_task(plan).execute(context())
    write_logs(
        env,
        cluster_id,
        stdout=f"reading\n{last_words}\n",
        stderr="26/11/22 10:00:00 INFO SparkContext: end\n",
    )
    task, run = wait_task(cluster_id, plan), context()
    pause = deferred(task.execute, run)
    emr.end(cluster_id, "TERMINATED_WITH_ERRORS", "STEP_FAILURE", "step failed", step="FAILED")
    with pytest.raises(AirflowFailException) as raised:
        go_on(task, pause, run, ended(pause))
    text = str(raised.value)
    assert f"class: {kind}" in text
    assert last_words.removeprefix("error: ") in text
    assert "preprocess (s-1) FAILED" in text
    assert f"emr-logs/{cluster_id}/" in text
    assert len(text.splitlines()) < 25  # one screen
    assert last_words in caplog.text
    assert emr.calls.count("RunJobFlow") == 1


def test_a_late_cluster_is_a_time_out_that_shows_the_step_at_work(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    cluster_id = submit_task(plan).execute(context())
    write_logs(env, cluster_id, stdout="fold 3 of 900\n", stderr="")
    task, run = wait_task(cluster_id, plan), context()
    pause = deferred(task.execute, run)
    emr.end(cluster_id, "TERMINATING", "USER_REQUEST", step="RUNNING")
    event = {"cluster_id": cluster_id, "late": True, "limit_minutes": 60.0}
    with pytest.raises(AirflowFailException, match="class: time-out"):
        go_on(task, pause, run, event)
    assert emr.calls.count("RunJobFlow") == 1
    assert "fold 3 of 900" in caplog.text


def test_killing_the_wait_while_it_asks_for_another_attempt_leaves_nothing(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit_task(plan).execute(context())
    task, run, original = wait_task(first, plan), context(), emr.RunJobFlow
    pause = deferred(task.execute, run)
    fail(emr, first, *CAPACITY)
    pause = deferred(go_on, task, pause, run, ended(pause))

    def killed_meanwhile(data: dict[str, Any]) -> dict[str, Any]:
        task.on_kill()
        answer: dict[str, Any] = original(data)
        return answer

    monkeypatch.setattr(emr, "RunJobFlow", killed_meanwhile)
    with pytest.raises(AirflowException, match="killed"):
        go_on(task, pause, run, None)
    assert len(emr.clusters) == 2
    assert emr.live == []


def test_a_cluster_that_ended_well_in_its_last_minute_is_no_time_out(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    cluster_id = submit_task(plan).execute(context())
    task, run = wait_task(cluster_id, plan), context()
    pause = deferred(task.execute, run)
    emr.complete(cluster_id)
    seal(plan)
    go_on(task, pause, run, {"cluster_id": cluster_id, "late": True, "limit_minutes": 60.0})


def test_airflows_own_limit_terminates_the_cluster(
    emr: Any, env: Any, context: Make, plan: dict[str, Any]
) -> None:
    cluster_id = submit_task(plan).execute(context())
    task = wait_task(cluster_id, plan)
    with pytest.raises(AirflowFailException, match="is the triggerer running"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert emr.live == []


@pytest.mark.parametrize(("passing", "final"), [(True, False), (False, True)])
def test_a_wait_that_cannot_look_is_retried_only_if_looking_may_work_again(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], passing: bool, final: bool
) -> None:
    cluster_id = submit_task(plan).execute(context())
    task, run = wait_task(cluster_id, plan), context()
    pause = deferred(task.execute, run)
    event = {"cluster_id": cluster_id, "error": "no network", "passing": passing}
    with pytest.raises(Exception, match="no network") as raised:
        go_on(task, pause, run, event)
    assert isinstance(raised.value, AirflowFailException) is final
    assert emr.live == [cluster_id]  # a retry watches it again; the teardown ends it at last


# Terminate


def teardown(cluster_id: str | None) -> TerminateCluster:
    return TerminateCluster(task_id="terminate", cluster_id=cluster_id, stage="preprocess")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("TERMINATED", "ALL_STEPS_COMPLETED"),
        ("TERMINATED_WITH_ERRORS", "STEP_FAILURE"),
        ("TERMINATING", "USER_REQUEST"),
    ],
)
def test_the_teardown_is_content_with_every_end(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], state: str, code: str
) -> None:
    cluster_id = submit_task(plan).execute(context())
    emr.end(cluster_id, state, code)
    teardown(cluster_id).execute(context())
    assert "TerminateJobFlows" not in emr.calls


def test_the_teardown_ends_what_lives_lost_clusters_too_and_says_so(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    known = submit_task(plan).execute(context())
    emr.RunJobFlow(emr.clusters[known]["Request"])  # its answer never came
    stranger = submit_task(plan).execute(context(run_id="manual__other"))
    emr.faults["TerminateJobFlows"] = [("throttle", "")] * 3
    teardown(known).execute(context())
    assert emr.live == [stranger]
    told = capsys.readouterr().out
    assert f"cluster {known} was still STARTING: terminating it" in told
    assert told.count("terminating it") == 2


@pytest.mark.parametrize("cluster_id", [None, "j-FORGOTTEN"])
def test_the_teardown_minds_neither_no_id_nor_an_unknown_one(
    emr: Any, env: Any, context: Make, plan: dict[str, Any], cluster_id: str | None
) -> None:
    submit_task(plan).execute(context())
    teardown(cluster_id).execute(context())
    assert emr.live == []

"""The sweep ends what nobody waits for any longer, and touches nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from recsys_emr import sweep
from recsys_emr.clusters import Owner
from recsys_emr.job_flow import Stage

DAG = "retrain_shop"
Make = Callable[..., Any]


def make(
    emr: Any,
    work: str,
    run_id: str,
    minutes: float = 60,
    change: Mapping[str, str | None] | None = None,
) -> str:
    """Make a live cluster of a run, some minutes old; `change` replaces or drops tags."""
    owner = Owner(work, Stage(DAG, run_id, "train"))
    tags: dict[str, str | None] = {**owner.tags, **(change or {})}
    request = {
        "Name": owner.stage.cluster_name,
        "Steps": [{"Name": "train"}],
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items() if value is not None],
    }
    cluster_id = str(emr.RunJobFlow(request)["JobFlowId"])
    emr.age(cluster_id, minutes)
    return cluster_id


def run(context: Make, *under_way: str, **params: Any) -> Any:
    made = context(**{"dry_run": False, "grace_minutes": 10, **params})
    made["ti"].under_way = {(DAG, run_id) for run_id in under_way}
    return made


def test_a_cluster_whose_run_is_over_is_terminated(emr: Any, env: Any, context: Make) -> None:
    orphan, kept = make(emr, env.work, "run-over"), make(emr, env.work, "run-on")
    numbers = sweep.sweep_now(run(context, "run-on"))
    assert emr.live == [kept]
    assert orphan not in emr.live
    assert numbers == {"seen": 2, "kept": 1, "would_terminate": 0, "terminated": 1, "failed": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"recsys:work": None},
        {"recsys:dag": None},
        {"recsys:run": None},
        {"recsys:stage": None},
        {"recsys:work": "s3://another"},
    ],
)
def test_what_is_not_ours_is_never_touched(
    emr: Any, env: Any, context: Make, change: dict[str, str | None]
) -> None:
    stranger = make(emr, env.work, "run-over", change=change)
    assert sweep.sweep_now(run(context))["seen"] == 0
    assert emr.live == [stranger]
    assert "TerminateJobFlows" not in emr.calls


def test_a_cluster_of_another_name_is_not_even_described(emr: Any, env: Any, context: Make) -> None:
    emr.clusters[make(emr, env.work, "run-over")]["Name"] = "nightly spark"
    sweep.sweep_now(run(context))
    assert emr.calls == ["ListClusters"]


def test_a_young_cluster_is_left_to_its_own_teardown(emr: Any, env: Any, context: Make) -> None:
    young = make(emr, env.work, "run-over", minutes=9)
    assert sweep.sweep_now(run(context))["seen"] == 0
    assert emr.live == [young]
    assert sweep.sweep_now(run(context, grace_minutes=5))["terminated"] == 1


def test_a_dry_run_only_says_what_it_would_do(
    emr: Any, env: Any, context: Make, caplog: pytest.LogCaptureFixture
) -> None:
    orphan = make(emr, env.work, "run-over")
    with caplog.at_level("INFO"):
        numbers = sweep.sweep_now(run(context, dry_run=True))
    assert numbers["would_terminate"] == 1
    assert emr.live == [orphan]
    assert "would terminate" in caplog.text
    assert orphan in caplog.text


def test_one_that_cannot_be_terminated_does_not_save_the_next_and_is_not_hushed_up(
    emr: Any, env: Any, context: Make
) -> None:
    first = make(emr, env.work, "run-1")
    make(emr, env.work, "run-2")
    emr.faults["TerminateJobFlows"] = [("refuse", "AccessDeniedException")]
    made = run(context)
    with pytest.raises(AirflowException, match="1 clusters could not be terminated"):
        sweep.sweep_now(made)
    assert emr.live == [first]
    assert made["ti"].xcom["counts"]["failed"] == 1


def test_not_knowing_is_no_reason_to_terminate(
    emr: Any, env: Any, context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan, made = make(emr, env.work, "run-over"), run(context)

    def no_answer(**_: Any) -> int:
        message = "the API server does not answer"
        raise RuntimeError(message)

    monkeypatch.setattr(made["ti"], "get_dr_count", no_answer)
    with pytest.raises(RuntimeError):
        sweep.sweep_now(made)
    assert emr.live == [orphan]


def test_throttling_only_makes_it_slower(emr: Any, env: Any, context: Make) -> None:
    for number in range(5):  # three pages of the stub
        make(emr, env.work, f"run-{number}")
    emr.faults["DescribeCluster"] = [("throttle", "")] * 4
    emr.faults["ListClusters"] = [("throttle", "")] * 2
    assert sweep.sweep_now(run(context))["terminated"] == 5
    assert emr.live == []


def test_the_table_is_read_from_old_to_young(emr: Any, env: Any) -> None:
    young = make(emr, env.work, "run-2", minutes=60)
    old = make(emr, env.work, "run-1", minutes=600)
    now = dt.datetime.now(dt.UTC)
    swept = sweep.sweep(
        emr.client(), env.work, lambda *_: False, grace=dt.timedelta(0), dry_run=True, now=now
    )
    heading, first, second = sweep.table(swept, now).splitlines()
    assert heading.split()[:4] == ["cluster", "state", "hours", "action"]
    assert first.split()[:3] == [old, "STARTING", "10.0"]
    assert second.split()[0] == young
    assert "no run run-1 of retrain_shop is under way" in first


def test_an_empty_sweep_says_so() -> None:
    assert "no live cluster" in sweep.table([], dt.datetime.now(dt.UTC))

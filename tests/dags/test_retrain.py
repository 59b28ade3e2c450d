"""The DAG's arrows and the promises of its form."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from recommender import config, environment
from recsys_emr.approval import AskForApproval
from recsys_emr.costs import Allowance


def test_every_recommender_file_makes_one_dag(dag_bag: DagBag) -> None:
    expected = {f"retrain_{path.stem}" for path in environment.recommender_files()}
    assert expected == {name for name in dag_bag.dags if name.startswith("retrain_")}
    assert expected


def test_nothing_is_published_without_the_gate(dag: DAG) -> None:
    publishers = {"publish", "refuse"}
    assert dag.get_task("gate").downstream_task_ids == publishers
    for task_id in publishers:
        assert "gate" in dag.get_task(task_id).upstream_task_ids
        assert dag.get_task(task_id).trigger_rule == "all_success"


def test_a_failure_is_never_overtaken_by_a_skip(dag: DAG) -> None:
    """Behind a task that may be skipped, the default rule may skip on what it sees first."""
    for stage in ("preprocess", "train"):
        price = dag.get_task(f"{stage}.price")
        assert price.trigger_rule == "all_done"  # a cluster that failed has cost money, too
        for task_id in price.downstream_task_ids:
            assert dag.get_task(task_id).trigger_rule == "none_failed", task_id


def test_the_last_task_is_one_that_airflow_never_skips_and_it_alone_decides_the_colour(
    dag: DAG,
) -> None:
    """Marking a run as failed skips what has not begun, and a run of skipped last tasks is green."""
    (last,) = dag.leaves
    assert last.task_id == "judge_run"
    assert last.is_teardown
    assert last.on_failure_fail_dagrun
    everything = last.get_flat_relative_ids(upstream=True)
    assert everything == {task.task_id for task in dag.tasks} - {"judge_run"}


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_every_cluster_has_a_teardown_behind_its_setup(dag: DAG, stage: str) -> None:
    submit, terminate = dag.get_task(f"{stage}.submit"), dag.get_task(f"{stage}.terminate")
    assert submit.is_setup
    assert terminate.is_teardown
    assert not terminate.on_failure_fail_dagrun  # clean-up never decides success
    assert {f"{stage}.wait", f"{stage}.terminate"} <= submit.downstream_task_ids


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_a_stage_ends_with_its_wait_not_with_its_teardown(dag: DAG, stage: str) -> None:
    reader = {"preprocess": "read_profile", "train": "read_metrics"}[stage]
    assert f"{stage}.wait" in dag.get_task(reader).upstream_task_ids
    assert f"{stage}.terminate" not in dag.get_task(reader).upstream_task_ids


def test_a_further_attempt_is_held_against_the_budget_and_the_stages_to_come(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recommenders").mkdir()
    text = "name: poor\ndescription: x\ndataset: shop\nbudget_usd: 7\n"
    (tmp_path / "recommenders" / "poor.yaml").write_text(text)
    (tmp_path / "environments").symlink_to(root / "include" / "config" / "environments")
    monkeypatch.setenv("RECSYS_CONFIG_DIR", str(tmp_path))
    poor = DagBag(dag_folder=str(root / "dags")).dags["retrain_poor"]
    waits: Any = [poor.get_task(f"{stage}.wait") for stage in ("preprocess", "train")]
    assert [wait.allowance for wait in waits] == [Allowance(7, ("single_node",)), Allowance(7)]


def test_the_snapshot_is_awaited_before_the_first_cluster(dag: DAG) -> None:
    upstream = dag.get_task("preprocess.submit").get_flat_relative_ids(upstream=True)
    assert {"resolve_run", "wait_for_snapshot", "stage_code"} <= upstream


def test_the_data_is_examined_before_the_second_cluster(dag: DAG) -> None:
    assert dag.get_task("check_data").downstream_task_ids == {"is_new"}
    assert dag.get_task("is_new").downstream_task_ids == {"plan_train"}
    upstream = dag.get_task("train.submit").get_flat_relative_ids(upstream=True)
    assert {"preprocess.wait", "check_data", "is_new"} <= upstream


def test_the_metrics_decide_over_what_training_left(dag: DAG) -> None:
    assert "train.wait" in dag.get_task("gate").get_flat_relative_ids(upstream=True)
    assert "read_metrics" in dag.get_task("gate").upstream_task_ids


LONG = {"preprocess.wait", "train.wait", "wait_for_snapshot", "gate", "publish"}


@pytest.mark.parametrize("task_id", sorted(LONG))
def test_a_long_wait_is_not_cut_by_the_limit_of_short_tasks(dag: DAG, task_id: str) -> None:
    assert dag.get_task(task_id).execution_timeout is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("snapshot", "yesterday"),
        ("k", 0),
        ("min_uplift", -0.1),
        ("search_trials", 0),
        ("accept_data", ""),
    ],
)
def test_the_form_refuses_what_makes_no_sense(dag: DAG, name: str, value: object) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = dag.params.get_param(name)
    with pytest.raises(ParamValidationError):
        param.resolve(value=value)


def test_runs_do_not_pile_up(dag: DAG) -> None:
    assert dag.catchup is False
    assert dag.max_active_runs == environment.load().max_active_runs


def test_the_plan_comes_before_anything_is_created(dag: DAG) -> None:
    for task_id in ("stage_code", "preprocess.submit", "train.submit"):
        assert "plan" in dag.get_task(task_id).get_flat_relative_ids(upstream=True), task_id
    assert dag.get_task("plan").get_flat_relative_ids(upstream=True) == {"resolve_run"}


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_every_cluster_is_priced_whether_it_ended_well_or_not(dag: DAG, stage: str) -> None:
    price = dag.get_task(f"{stage}.price")
    named = {"train": {"plan_train"}, "preprocess": set()}[stage]  # who has chosen the shape
    assert price.upstream_task_ids == {f"{stage}.wait"} | named
    assert price.trigger_rule == "all_done"


def test_the_budget_is_held_again_before_the_second_cluster(dag: DAG) -> None:
    assert "preprocess.price" in dag.get_task("plan_train").upstream_task_ids
    assert "plan_train" in dag.get_task("train.submit").upstream_task_ids


def test_what_was_paid_reaches_the_decision(dag: DAG) -> None:
    assert {"preprocess.price", "train.price"} <= dag.get_task("gate").upstream_task_ids


def built_with(root: Path, **gate: object) -> DAG:
    """Build the DAG of the demo's recommender under another policy."""
    sys.path.insert(0, str(root / "dags"))
    import retrain

    file = next(iter(environment.recommender_files()))
    settings = config.load(str(file))
    policy = replace(settings.gate, **gate)  # type: ignore[arg-type]
    return retrain.retrain(settings.model_copy(update={"gate": policy}), file, 1)


def test_in_shadow_mode_there_is_no_task_that_could_publish(root: Path) -> None:
    shadow = built_with(root, mode="shadow")
    assert "publish" not in shadow.task_ids
    assert "observe" in shadow.get_task("gate").downstream_task_ids


def test_with_approval_a_promotion_waits_for_a_person(root: Path) -> None:
    asking = built_with(root, approval=True, approval_hours=3)
    approve = asking.get_task("approve")
    assert approve.upstream_task_ids == {"gate"}
    assert "publish" in approve.downstream_task_ids
    assert isinstance(approve, AskForApproval)
    assert approve.response_timeout == dt.timedelta(hours=3)
    # A registered version goes past the question: the skipped task must not skip the publication.
    assert asking.get_task("publish").trigger_rule == "none_failed_min_one_success"


@pytest.mark.parametrize("gate", [{}, {"mode": "shadow"}, {"approval": True}])
def test_the_page_is_told_last_and_decides_nothing(root: Path, gate: dict[str, object]) -> None:
    dag = built_with(root, **gate)
    page = dag.get_task("page")
    assert page.is_teardown
    assert not page.on_failure_fail_dagrun
    assert page.downstream_task_ids == {"judge_run"}  # which counts no teardown
    ends = {"observe"} if gate.get("mode") == "shadow" else {"publish", "refuse"}
    assert ends <= page.upstream_task_ids

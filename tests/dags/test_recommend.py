"""The DAG of everyone's lists: what starts it, its arrows, its form, and who announces a champion."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from recommender import environment
from recsys_emr import assets


@pytest.fixture
def lists(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["recommend_complete_journey"]


def test_every_recommender_file_makes_one_dag(dag_bag: DagBag) -> None:
    expected = {f"recommend_{path.stem}" for path in environment.recommender_files()}
    assert expected == {name for name in dag_bag.dags if name.startswith("recommend_")}
    assert expected


def test_it_follows_the_champion_one_run_at_a_time(lists: DAG) -> None:
    assert assets.champion("complete_journey").uri in str(lists.timetable.asset_condition)
    assert lists.max_active_runs == 1
    assert lists.catchup is False


def test_whoever_may_move_the_champion_may_announce_it_and_nobody_else(dag_bag: DagBag) -> None:
    outlets: dict[str, Any] = {
        f"{dag_id}.{task.task_id}": task.outlets
        for dag_id, dag in dag_bag.dags.items()
        for task in dag.tasks
        if task.outlets
    }
    movers = {"retrain_complete_journey.publish", "rollback_recommender.roll_back"}
    # An alias: a plain asset would be announced by a registered version, too.
    assert outlets == {mover: [assets.MOVED] for mover in movers}


def test_the_cluster_is_planned_before_and_terminated_after(lists: DAG) -> None:
    submit, terminate = lists.get_task("recommend.submit"), lists.get_task("recommend.terminate")
    assert {"plan", "stage_code"} <= submit.get_flat_relative_ids(upstream=True)
    assert submit.is_setup
    assert terminate.is_teardown
    assert not terminate.on_failure_fail_dagrun
    assert lists.get_task("recommend.price").trigger_rule == "all_done"


def test_readers_are_pointed_at_lists_that_are_there(lists: DAG) -> None:
    assert "recommend.wait" in lists.get_task("publish").get_flat_relative_ids(upstream=True)
    (last,) = lists.leaves
    assert last.task_id == "judge_run"
    assert last.is_teardown
    assert last.on_failure_fail_dagrun


def test_the_form_has_what_a_run_by_hand_may_choose(lists: DAG) -> None:
    assert set(lists.params) == {"version", "n", "json_lines", "deny_list", "plan_only"}

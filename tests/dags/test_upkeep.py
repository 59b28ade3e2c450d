"""The DAGs that move and tidy what is published: what their forms take, what they do and keep."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from registry_store import NAME, champion, places, promote

from recommender import environment, storage
from recommender.locations import Locations
from recommender.registry import pointer
from recsys_emr import upkeep

NAMES = ("rollback_recommender", "prune_versions")


@pytest.fixture(params=NAMES)
def each(request: pytest.FixtureRequest, dag_bag: DagBag) -> DAG:
    return dag_bag.dags[request.param]


def test_a_person_starts_it_one_run_at_a_time_and_no_switch_is_in_the_way(each: DAG) -> None:
    assert str(each.schedule) == "None"
    assert each.max_active_runs == 1
    assert each.is_paused_upon_creation is False
    for task in each.tasks:
        assert task.retries == 2
        assert task.execution_timeout is not None
        assert task.execution_timeout <= dt.timedelta(hours=1)


def test_the_only_recommender_is_chosen_and_an_unknown_one_refused(each: DAG) -> None:
    recommender = each.params.get_param("recommender")
    assert recommender.resolve() == "complete_journey"
    with pytest.raises(ParamValidationError):
        recommender.resolve(value="somebody_elses")


def test_a_rollback_has_to_be_explained(dag_bag: DagBag) -> None:
    reason = dag_bag.dags["rollback_recommender"].params.get_param("reason")
    for nothing in (None, ""):
        with pytest.raises(ParamValidationError):
            reason.resolve(value=nothing)


def test_a_prune_only_looks_unless_it_is_told_otherwise(dag_bag: DagBag) -> None:
    prune = dag_bag.dags["prune_versions"]
    assert prune.params.get_param("dry_run").resolve() is True
    assert prune.get_task("plan").downstream_task_ids == {"prune"}
    with pytest.raises(ParamValidationError):
        prune.params.get_param("champions").resolve(value=1)


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    found = places(str(tmp_path))
    monkeypatch.setattr(environment, "load", lambda: SimpleNamespace(locations=found))
    return found


def context(**params: Any) -> Any:
    run = SimpleNamespace(dag_id="rollback_recommender", run_id="manual__1")
    run.triggering_user_name = "ada"
    return cast("Any", {"dag_run": run, "params": {"recommender": NAME, "reason": "odd", **params}})


def test_a_retried_rollback_goes_back_once(locations: Locations) -> None:
    first, second, third = (
        promote(locations, day, day) for day in ("2017-10-31", "2017-11-30", "2017-12-31")
    )
    asked = context(champion=None, to=None)
    chosen = upkeep.choose_rollback(asked)
    assert chosen == {"leave": third, "to": second}
    done = upkeep.roll_back(chosen, asked)
    assert (done["moved"], done["champion"]) == (True, second)
    again = upkeep.roll_back(chosen, asked)
    assert (again["moved"], champion(locations).version) == (False, second)
    record = pointer.history(locations, NAME)[-1]
    assert record.change is not None
    assert (record.change.by, record.change.reason) == (
        "ada by rollback_recommender manual__1",
        "odd",
    )
    assert upkeep.choose_rollback(context(champion=second, to=first))["to"] == first


def test_a_rollback_of_another_champion_than_was_meant_changes_nothing(
    locations: Locations,
) -> None:
    first = promote(locations, "2017-10-31", "a")
    second = promote(locations, "2017-11-30", "b")
    with pytest.raises(AirflowFailException, match=f"expected champion {first}"):
        upkeep.choose_rollback(context(champion=first, to=None))
    assert champion(locations).version == second


def test_a_prune_says_what_goes_and_then_deletes_it(locations: Locations) -> None:
    versions = [promote(locations, f"2017-0{n}-28", f"run-{n}") for n in range(1, 6)]
    asked = context(last=1, champions=2, keep=[versions[0]])
    planned = upkeep.plan_prune(asked)
    assert planned["gone"] == [versions[1]]
    assert storage.list_children(locations.versions(NAME)) == versions
    assert upkeep.prune(asked) == planned
    assert storage.list_children(locations.versions(NAME)) == [versions[0], *versions[2:]]


def test_an_empty_reason_fails_for_good(locations: Locations) -> None:
    promote(locations, "2017-10-31", "a")
    with pytest.raises(AirflowFailException, match="Param reason: expected a reason"):
        upkeep.request(context(reason=" "))

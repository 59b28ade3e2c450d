"""A run whose champion was replaced meanwhile is measured again by itself, and then decided on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import registry_store
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from registry_store import NAME, Case, make_run, places, promote

from recommender import environment, manifest
from recommender.config import Recommender
from recommender.locations import Locations
from recsys_emr import assets, pipeline
from recsys_emr.deciding import MEASUREMENTS, Gate, MeasureAgain, Publish

CODE = {"uri": "s3://recsys-work/code/0123", "content_hash": "0123"}
SHOP = Recommender(name=NAME, description="x", dataset=NAME)
PARAMS = {"k": 20, "search_trials": 2}
FEBRUARY = "2018-02-28"
Make = Callable[..., Any]


@pytest.fixture
def locations(env: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Locations:
    found = places(str(tmp_path))
    changed = env.model_copy(
        update={"lake": found.lake, "work": found.work, "models": found.models}
    )
    monkeypatch.setattr(environment, "load", lambda *_: changed)
    return found


@pytest.fixture
def case(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Return February's candidate, measured before there was a champion."""
    measured = make_run(locations, FEBRUARY, "run")
    monkeypatch.setattr(pipeline, "decide", lambda *_: measured.decide(locations).to_json())
    monkeypatch.setattr(Gate, "do_branch", lambda _self, _context, task: task)
    return measured


def paths(case: Case) -> dict[str, str]:
    """What ``resolve_run`` says of the case's run."""
    return {
        "snapshot": FEBRUARY,
        "run_key": "run",
        "dataset": "s3://recsys-work/dataset",
        "candidate": case.candidate,
        "report": case.report,
    }


def task(kind: type[MeasureAgain], case: Case, **kwargs: Any) -> Any:
    name = kind.__name__.lower()
    return kind(task_id=name, recommender=SHOP, paths=paths(case), code=CODE, **kwargs)


def prepare(context: Make) -> Any:
    made = context(**PARAMS)
    ti = made["ti"]
    ti.dag_id, ti.task_id = "retrain_shop", "gate"
    ti.xcom_pull = lambda task_ids, key: ti.xcom.get(key)
    made["outlet_events"] = {assets.MOVED: SimpleNamespace(add=lambda *_, **told: told)}
    return made


def wait(call: Callable[[], Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        call()
    return raised.value


def resume(one: Any, pause: TaskDeferred, context: Any) -> Any:
    """Come back in another process, with nothing but the event, as ``dags test`` does."""
    event = {"cluster_id": pause.trigger.cluster_id, "state": "TERMINATED"}
    return one.resume_execution(pause.method_name, {"event": event}, context)


def evaluate(emr: Any, locations: Locations, at: str) -> None:
    """Do what the cluster's step does: measure the same candidate against the champion of now."""
    make_run(locations, FEBRUARY, "run")
    emr.complete(at)


def test_a_newer_snapshot_is_measured_again_against_the_champion_that_was_first(
    emr: Any, locations: Locations, case: Case, context: Make
) -> None:
    january = promote(locations, "2018-01-31", "january")
    made = prepare(context)
    gate = task(Gate, case)
    pause = wait(lambda: gate.execute(made))
    (cluster,) = emr.live
    assert emr.tags(cluster)["recsys:stage"] == "measure_for_gate_1"
    (step,) = emr.clusters[cluster]["Request"]["Steps"]
    arguments = step["HadoopJarStep"]["Args"]
    assert step["Name"] == "evaluate"
    assert arguments[-2:] == ["--champion", locations.version(NAME, january)]
    evaluate(emr, locations, cluster)
    assert resume(task(Gate, case), pause, made) == "publish"
    decision = made["ti"].xcom["decision"]
    assert (decision["verdict"], decision["champion"]["version"]) == ("promoted", january)
    # A publication that loses the race in its turn does the same, and then announces its champion.
    march = promote(locations, "2018-02-28", "somebody else's")
    made["ti"].task_id = "publish"
    del made["ti"].xcom["measured_again"]  # XCom is a task's own; the stub has one for all
    publish = task(Publish, case, decision=decision)
    pause = wait(lambda: publish.execute(made))
    (cluster,) = emr.live
    assert emr.tags(cluster)["recsys:stage"] == "measure_for_publish_1"
    evaluate(emr, locations, cluster)
    published = resume(task(Publish, case, decision=decision), pause, made)
    assert published["champion_moved"]
    current = registry_store.champion(locations)
    assert (current.version, current.previous) == (published["version"], march)


def test_an_older_snapshot_registers_without_another_measurement(
    emr: Any, locations: Locations, case: Case, context: Make
) -> None:
    newer = promote(locations, "2018-03-31", "march")
    made = prepare(context)
    assert task(Gate, case).execute(made) == "publish"
    decision = made["ti"].xcom["decision"]
    assert decision["verdict"] == "registered"
    (rule,) = [r for r in decision["rules"] if r["name"] == "holds_against_champion"]
    assert "of a newer snapshot, which stays" in rule["sentence"]
    published = task(Publish, case, decision=decision).execute(made)
    assert not published["champion_moved"]
    assert registry_store.champion(locations).version == newer
    assert emr.calls == []


def test_measuring_again_is_bounded_and_a_failed_measurement_is_red(
    emr: Any, locations: Locations, case: Case, context: Make
) -> None:
    made = prepare(context)
    promote(locations, "2018-01-31", "first")
    pause = wait(lambda: task(Gate, case).execute(made))
    for number in range(2, MEASUREMENTS + 1):  # each time yet another run is first
        evaluate(emr, locations, pause.trigger.cluster_id)
        promote(locations, "2018-01-31", f"run {number}")
        earlier = pause
        pause = wait(lambda earlier=earlier: resume(task(Gate, case), earlier, made))  # type: ignore[misc]
        assert emr.tags(emr.live[0])["recsys:stage"] == f"measure_for_gate_{number}"
    evaluate(emr, locations, emr.live[0])
    promote(locations, "2018-01-31", "the last")
    with pytest.raises(AirflowFailException, match="through 3 measurements; clear this task"):
        resume(task(Gate, case), pause, made)


def test_a_retry_goes_on_with_the_measurement_that_it_had_asked_for(
    emr: Any, locations: Locations, case: Case, context: Make
) -> None:
    promote(locations, "2018-01-31", "january")
    wait(lambda: task(Gate, case).execute(prepare(context)))
    again = prepare(context)  # a retry begins with empty XCom
    again["ti"].try_number = 2
    pause = wait(lambda: task(Gate, case).execute(again))
    assert emr.calls.count("RunJobFlow") == 1
    manifest.read(case.report, "report")
    evaluate(emr, locations, pause.trigger.cluster_id)
    assert resume(task(Gate, case), pause, again) == "publish"

"""Which snapshot a run is about, and which errors end it for good."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import registry_store
from airflow.sdk.exceptions import AirflowFailException

from recommender import environment
from recommender.errors import ConflictError, ManifestError, SnapshotError, StorageError
from recommender.locations import Locations
from recommender.registry import changes
from recsys_emr import pipeline
from recsys_emr.pipeline import choose_snapshot, named_errors_are_final

if TYPE_CHECKING:
    from recommender.config import Recommender


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    for date in ("2017-10-31", "2017-11-30", "2017-12-31", "not-a-date"):
        folder = tmp_path / "lake" / "snapshots" / "shop" / date
        folder.mkdir(parents=True)
        (folder / "part.json").write_text("{}")
    return Locations(str(tmp_path / "lake"), str(tmp_path / "work"), str(tmp_path / "models"))


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("asked", "run_type", "logical_date", "expected"),
    [
        ("2017-10-31", "manual", None, "2017-10-31"),  # the Param wins
        ("2017-10-31", "scheduled", at("2017-12-31T02:00"), "2017-10-31"),
        (None, "scheduled", at("2017-11-30T02:00"), "2017-11-30"),
        (None, "backfill", at("2017-10-31T02:00"), "2017-10-31"),
        (None, "scheduled", at("2018-01-31T02:00"), "2018-01-31"),  # will be awaited
        (None, "manual", None, "2017-12-31"),
        (None, "manual", at("2026-01-01T09:30"), "2017-12-31"),  # the form's "now"
        (None, "manual", at("2017-12-15T09:30"), "2017-11-30"),
    ],
)
def test_choice(
    locations: Locations,
    asked: str | None,
    run_type: str,
    logical_date: dt.datetime | None,
    expected: str,
) -> None:
    chosen = choose_snapshot(
        locations, "shop", asked=asked, run_type=run_type, logical_date=logical_date
    )
    assert chosen.isoformat() == expected


def test_a_dataset_without_snapshots_says_where_they_belong(locations: Locations) -> None:
    with pytest.raises(SnapshotError, match=r"expected dated snapshots below .*/bookshop/"):
        choose_snapshot(locations, "bookshop", asked=None, run_type="manual", logical_date=None)


def test_a_manual_date_before_all_snapshots_names_the_nearest(locations: Locations) -> None:
    with pytest.raises(SnapshotError, match="the nearest are 2017-10-31, 2017-11-30, 2017-12-31"):
        choose_snapshot(
            locations, "shop", asked=None, run_type="manual", logical_date=at("2016-01-01T00:00")
        )


def test_a_date_that_is_none_is_refused(locations: Locations) -> None:
    with pytest.raises(SnapshotError, match="YYYY-MM-DD, found 'last friday'"):
        choose_snapshot(
            locations, "shop", asked="last friday", run_type="manual", logical_date=None
        )


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (SnapshotError("no such date"), AirflowFailException),  # final: the same date, the same end
        (ManifestError("torn"), AirflowFailException),
        (StorageError("S3 could not be reached"), StorageError),  # Airflow tries again
        (ConflictError("another writer was first"), ConflictError),
        (ZeroDivisionError("a bug"), ZeroDivisionError),
    ],
)
def test_only_what_may_go_better_is_tried_again(error: Exception, seen: type[Exception]) -> None:
    @named_errors_are_final
    def fail() -> None:
        raise error

    with pytest.raises(seen, match=str(error)):
        fail()


def test_a_dataset_without_snapshots_is_not_asked_for_again(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "load", lambda: SimpleNamespace(locations=locations))
    run = SimpleNamespace(run_type="manual", logical_date=None, run_id="r")
    context: Any = {"dag_run": run, "params": {"snapshot": None}}
    with pytest.raises(AirflowFailException, match="expected dated snapshots below"):
        pipeline.resolve_run(cast("Recommender", SimpleNamespace(dataset="bookshop")), context)


def test_a_report_that_is_not_there_fails_for_good(tmp_path: Path) -> None:
    with pytest.raises(
        AirflowFailException, match=r"expected a file at .*report\.json, found none"
    ):
        pipeline.read_metrics({"report": str(tmp_path)})


def test_a_run_whose_version_was_rolled_back_ends_registered_and_says_so(tmp_path: Path) -> None:
    locations = registry_store.places(str(tmp_path))
    registry_store.promote(locations, "2017-11-30", "a")
    case = registry_store.make_run(locations, "2017-12-31", "b")
    decision = case.decide(locations)
    run = {"candidate": case.candidate, "report": case.report}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "load", lambda: SimpleNamespace(locations=locations))
        first = pipeline.publish(run, decision.to_json(), decision.to_json)
        changes.roll_back(locations, registry_store.request())
        again = pipeline.publish(run, decision.to_json(), decision.to_json)
    assert first is not None
    assert again is not None
    assert (first["verdict"], again["verdict"]) == ("promoted", "registered")
    assert "was rolled back" in again["reason"]


@pytest.mark.parametrize("failed", [0, 2])
def test_a_run_in_which_a_task_failed_is_judged_as_failed(failed: int) -> None:
    asked: list[dict[str, Any]] = []

    def count(**kwargs: Any) -> int:
        asked.append(kwargs)
        return failed

    run = SimpleNamespace(dag_id="retrain_shop", run_id="manual__1")
    context: Any = {"dag_run": run, "ti": SimpleNamespace(get_ti_count=count)}
    if failed:
        with pytest.raises(AirflowFailException, match="2 of the run's tasks failed"):
            pipeline.judge_run(context, ["a", "b"])
    else:
        pipeline.judge_run(context, ["a", "b"])
    wanted = {"dag_id": "retrain_shop", "run_ids": ["manual__1"], "task_ids": ["a", "b"]}
    assert asked == [{**wanted, "states": ["failed"]}]

"""Do what the DAG's small tasks do: turn Airflow's context into calls of the product.

XCom carries numbers and URIs only. Nothing here computes; it reads, asks and records.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from recommender import environment, gate, manifest, registry, storage
from recommender.clusters import sizing, staging
from recommender.config import Recommender
from recommender.errors import ConflictError, RecommenderError, ReportError, StorageError
from recommender.lake import snapshots
from recommender.locations import PROFILE, REPORT, SEARCH, VERIFICATION, Locations, join
from recommender.registry import windows
from recommender.training import engine_choice, kept_setting
from recsys_emr import costs, stages
from recsys_emr import plan as planning

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_PUBLISH_ATTEMPTS = 5  # each loss means that another run published meanwhile, which is rare


P = ParamSpec("P")
R = TypeVar("R")


def named_errors_are_final(function: Callable[P, R]) -> Callable[P, R]:
    """Fail a task for good by an error that names its cause: the same input fails the same way.

    Not so what S3 may do better at the next attempt, and a race that was lost.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (StorageError, ConflictError):
            raise
        except RecommenderError as error:
            raise AirflowFailException(str(error)) from error

    return call


@named_errors_are_final
def resolve_run(recommender: Recommender, context: Context) -> dict[str, Any]:
    """Decide which snapshot the run is about and where it writes.

    The snapshot is the Param's; else the logical date's for a scheduled or a backfill run; else,
    for a run started by hand, the newest one (a logical date that a person did not choose as a
    snapshot, such as the form's "now", only bounds it from above).
    """
    env = environment.load()
    dag_run, params = context["dag_run"], context["params"]
    run_type = str(getattr(dag_run.run_type, "value", dag_run.run_type))  # an enum, or its value
    date = choose_snapshot(
        env.locations,
        recommender.dataset,
        asked=params["snapshot"],
        run_type=run_type,
        logical_date=dag_run.logical_date,
    )
    resolved = planning.planned_run(env, recommender, date, dag_run.run_id)
    log.info("snapshot %s, run %s", resolved["snapshot_uri"], resolved["run_key"])
    waits = may_wait(recommender, run_type, dag_run.logical_date, params["snapshot"])
    return {**resolved, "may_wait": waits}


def choose_snapshot(
    locations: Locations,
    dataset: str,
    *,
    asked: str | None,
    run_type: str,
    logical_date: dt.datetime | None,
) -> dt.date:
    """Choose the date of the snapshot; see ``resolve_run``.

    Raises:
        SnapshotError: the dataset has none, or the date asked for is no date.
    """
    if asked:
        return snapshots.parse_date(asked)
    if logical_date and run_type in {"scheduled", "backfill"}:
        return logical_date.date()
    newest = snapshots.newest(locations, dataset)
    if logical_date is None or newest <= logical_date.date():
        return newest
    earlier = [d for d in snapshots.available(locations, dataset) if d <= logical_date.date()]
    if not earlier:
        raise snapshots.missing(locations, dataset, logical_date.date())
    return earlier[-1]


def may_wait(
    recommender: Recommender, run_type: str, logical_date: dt.datetime | None, asked: str | None
) -> bool:
    """Tell whether a snapshot that is not there may still come: only for a scheduled run, in time."""
    if asked or run_type != "scheduled" or logical_date is None:
        return False
    age = dt.datetime.now(dt.UTC) - logical_date
    return age < dt.timedelta(hours=recommender.snapshot_wait_hours)


@named_errors_are_final
def stage_code(config_file: str) -> dict[str, str]:
    """Upload the code and the configuration under their content hash."""
    staged = staging.stage(environment.load().locations, Path(config_file))
    log.info("code is at %s", staged.uri)
    return asdict(staged)


@named_errors_are_final
def plan_preprocess(run: dict[str, Any]) -> dict[str, Any]:
    """Return the jobs of the preprocessing cluster and the directories they have to seal."""
    return stages.preprocess(run)


@named_errors_are_final
def choose_engine(
    recommender: Recommender, run: dict[str, Any], params: dict[str, Any]
) -> dict[str, Any]:
    """Choose what fits ALS, and on which shape, by the size of the prepared data; say why."""
    name = recommender.clusters.train
    machine = sizing.of_shape(name, environment.load().shape(name))
    size = engine_choice.size_of(read_json(run["dataset"], PROFILE))
    chosen = engine_choice.choose(params["engine"], size, recommender.train, machine)
    engine_choice.require_measurable(chosen.engine, recommender.gate.baselines)
    log.info("engine %s", chosen.why)
    return {**chosen.to_json(), "shape": planning.training_shape(recommender, chosen.engine)}


@named_errors_are_final
def plan_train(
    recommender: Recommender,
    run: dict[str, Any],
    params: dict[str, Any],
    spent: list[dict[str, Any]],
    chosen: dict[str, Any],
) -> dict[str, Any]:
    """Find the champion to stand against; return the jobs of the training cluster and its shape.

    Beside them goes what has been spent: a further attempt is held against the budget.
    """
    champion = champion_uri(recommender)
    jobs = stages.train(run, params, champion, chosen["engine"], chosen["why"])
    return {**jobs, "spent": spent, "shape": chosen["shape"], "engine": chosen}


def read_json(directory: str, name: str) -> dict[str, Any]:
    """Read a job's summary."""
    document: dict[str, Any] = storage.read_json(join(directory, name))
    return document


@named_errors_are_final
def read_profile(run: dict[str, str]) -> dict[str, Any]:
    """Return the numbers of the data profile that a person or a later check wants in XCom."""
    profile = read_json(run["dataset"], PROFILE)
    for stage in profile["stages"]:
        log.info("%-28s %12d rows", stage["stage"], stage["rows"])
    keys = ("stages", "quarantined", "users", "items", "density", "windows", "cold", "duplicates")
    return {key: profile[key] for key in keys}


@named_errors_are_final
def read_metrics(run: dict[str, str]) -> dict[str, Any]:
    """Return the report's metrics, population and comparisons."""
    report = read_json(run["report"], REPORT)
    for name, values in report["models"].items():
        numbers = "  ".join(
            f"{key} {value:.4f}" for key, value in values.items() if isinstance(value, float)
        )
        log.info("%-20s %s", name, numbers)
    return {key: report[key] for key in ("k", "population", "models", "comparisons")}


def read_verification(run: dict[str, str]) -> gate.Verification:
    """Read what came of loading the candidate and asking it again.

    Raises:
        ManifestError: there is none.
        ReportError: it is malformed.
    """
    manifest.read(run["verification"], "verification")
    try:
        return gate.Verification.from_json(read_json(run["verification"], VERIFICATION))
    except ValueError as error:
        message = f"{join(run['verification'], VERIFICATION)}: {error}"
        raise ReportError(message) from error


@named_errors_are_final
def keep_setting(run: dict[str, str]) -> None:
    """Keep what a wide search has found for the runs that follow, whatever the gate will say."""
    record = storage.read_json(join(run["candidate"], SEARCH))
    if record is None:
        log.info("no search: train.search is null")
    elif "keep" in record:
        log.info("wide search: %s", record["why"])
        kept_setting.write(run["setting"], record["keep"])
    else:
        log.info("%s search around the setting at %s", record["mode"], run["setting"])


@named_errors_are_final
def decide(
    recommender: Recommender,
    run: dict[str, str],
    params: dict[str, Any],
    spent: list[dict[str, Any]],
) -> dict[str, Any]:
    """Judge the candidate, record the decision and return it; the log shows every rule and price.

    Args:
        recommender: its configuration.
        run: what ``resolve_run`` returned.
        params: the run's Params.
        spent: what ``price_stage`` returned for every stage.
    """
    locations = environment.load().locations
    report = read_json(run["report"], REPORT)
    current = registry.read_champion(locations, recommender.name)
    policy = replace(recommender.gate, min_relative_uplift=params["min_uplift"])
    snapshot = snapshots.parse_date(run["snapshot"])
    attempt = gate.Attempt(
        recommender=recommender.name,
        snapshot=snapshot,
        run_key=run["run_key"],
        k=params["k"],
        decided_at=dt.datetime.now(dt.UTC),
        allow_replace_newer=params["allow_replace_newer"],
        costs=tuple(map(gate.StageCost.from_json, spent)),
        history=windows.earlier_windows(
            locations, recommender.name, snapshot, params["k"], policy.stable_windows - 1
        ),
    )
    verification = read_verification(run)
    champion = current[0] if current else None
    decision = gate.decide(report, policy, attempt, champion, verification)
    uri = registry.record_decision(locations, decision)
    log.info("the gate's rules:\n%s\nrecorded at %s", decision.table(), uri)
    log.info("what the run has cost:\n%s", costs.describe(spent, recommender.budget_usd))
    return decision.to_json()


def next_task(decision: dict[str, Any]) -> str:
    """Return the id of the task that a decision leads to."""
    verdict = gate.Decision.from_json(decision)
    if verdict.policy.mode == "shadow":
        return "observe"
    if verdict.verdict == "refused":
        return "refuse"
    return "approve" if verdict.awaits_answer else "publish"


@named_errors_are_final
def publish(
    run: dict[str, str], decision: dict[str, Any], decide_again: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """Publish the candidate; decide again when another run has moved the champion meanwhile.

    What a person has approved is not decided again behind his back: then the task fails.

    Returns:
        What came of it; None when the report is about an earlier champion and has to be measured
        again before anything can be decided.
    """
    locations = environment.load().locations
    for _ in range(_PUBLISH_ATTEMPTS):
        verdict = gate.Decision.from_json(decision)
        if verdict.stale:
            return None
        if not verdict.acts:
            return {
                "verdict": verdict.headline,
                "reason": verdict.reason,
                "champion_moved": False,
            }
        try:
            published = registry.publish(locations, verdict, run["candidate"], run["report"])
        except ConflictError as error:
            if verdict.answer is not None:
                message = (
                    f"{error} It was approved against the earlier champion: clear the task gate."
                )
                raise AirflowFailException(message) from error
            log.warning("%s; deciding again", error)
            decision = decide_again()
            continue
        log.info("%s %s at %s", verdict.verdict, published.version, published.uri)
        result = {
            "verdict": verdict.verdict,
            "version": published.version,
            "uri": published.uri,
            "champion_moved": published.champion_moved,
        }
        if published.withheld:
            log.warning("the champion stays: %s", published.withheld)
            return {**result, "verdict": "registered", "reason": published.withheld}
        return result
    message = f"the champion kept moving through {_PUBLISH_ATTEMPTS} attempts; clear this task"
    raise AirflowFailException(message)


def refuse(decision: dict[str, Any]) -> dict[str, Any]:
    """Log why nothing is published."""
    verdict = gate.Decision.from_json(decision)
    log.warning("refused: %s", verdict.reason)
    return {"verdict": verdict.verdict, "reason": verdict.reason}


def observe(decision: dict[str, Any]) -> dict[str, Any]:
    """Log what would have been done: the policy is in shadow mode, and nothing is."""
    verdict = gate.Decision.from_json(decision)
    log.warning("%s: %s", verdict.headline, verdict.reason)
    return {"verdict": verdict.headline, "reason": verdict.reason}


@named_errors_are_final
def settle(decision: dict[str, Any], answer: gate.Answer) -> dict[str, Any]:
    """Put a person's answer into the decision and its record, and return it."""
    settled = gate.Decision.from_json(decision).answered(answer)
    uri = registry.record_decision(environment.load().locations, settled)
    log.info("%s: %s Recorded at %s", settled.headline, settled.rules[-1].sentence, uri)
    return settled.to_json()


def judge_run(context: Context, judged: list[str]) -> None:
    """Fail if one of the run's tasks has failed.

    Args:
        context: the task's.
        judged: ids of the tasks that count; clean-up does not.

    Raises:
        AirflowFailException: one has.
    """
    run = context["dag_run"]
    failed = context["ti"].get_ti_count(
        dag_id=run.dag_id, run_ids=[run.run_id], task_ids=judged, states=["failed"]
    )
    if failed:
        message = f"{failed} of the run's tasks failed or were marked as failed: see there"
        raise AirflowFailException(message)


@named_errors_are_final
def write_page(decision: dict[str, Any]) -> str:
    """Write the page of a decided run from what the run has left in S3; return its URI.

    The decision is read from its record: a person may have answered since the gate decided.
    """
    from recommender import reporting  # here: matplotlib takes a second that no other task has

    locations = environment.load().locations
    attempt = gate.Decision.from_json(decision).attempt
    where = attempt.recommender, attempt.snapshot, attempt.run_key
    latest = gate.Decision.from_json(storage.read_json(locations.decision(*where)))
    uri = locations.run(*where).page
    page = reporting.render(reporting.gather(locations, latest))
    storage.write(uri, page.encode(), content_type="text/html; charset=utf-8")
    return uri


@named_errors_are_final
def champion_uri(recommender: Recommender) -> str | None:
    """Return the directory of the version in use; None before the first."""
    current = registry.read_champion(environment.load().locations, recommender.name)
    if current is None:
        log.info("no champion yet: the popularity baselines alone decide")
        return None
    log.info("champion is %s", current[0].version)
    return current[0].uri

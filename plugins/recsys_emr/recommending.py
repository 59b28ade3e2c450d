"""Do what the small tasks of the DAG of batch recommendations do."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from recommender import environment, manifest, registry, storage
from recommender.config import Recommender
from recommender.errors import NotFoundError
from recommender.lineage import predecessor
from recommender.locations import MANIFEST, SUMMARY, Locations, join, run_key
from recommender.registry import recommendations
from recsys_emr import stages
from recsys_emr.pipeline import named_errors_are_final, read_json

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


@named_errors_are_final
def resolve_run(recommender: Recommender, context: Context) -> dict[str, Any]:
    """Decide whose lists are made, for whom, and where they go.

    Without the Param it is the champion of this moment, not the one of the event that started the
    run: several events may be behind one run. The users and what they have are the newest that a
    run has decided on, so that after a rollback, too, nothing is recommended that is long bought.
    """
    locations, params = environment.load().locations, context["params"]
    version = params["version"] or _champion(locations, recommender.name)
    uri = locations.version(recommender.name, version)
    about = manifest.read(uri, "version").about
    own = about["lineage"]["dataset"]["uri"]
    snapshot = dt.date.fromisoformat(about["snapshot"])
    newer = predecessor.newest_dataset(locations, recommender.name, after=snapshot)
    dataset = newer or own
    if not storage.exists(join(dataset, MANIFEST)):  # the work area may expire, versions do not
        message = (
            f"expected the dataset of version {version} at {dataset}, found none: the work area has been "
            f"cleaned up. Run retrain_{recommender.name} over a snapshot again, then these lists."
        )
        raise NotFoundError(message)
    run = planned_run(
        locations, recommender.name, version, dataset, run_key(context["dag_run"].run_id)
    )
    log.info("lists of %s for the users of %s at %s", version, run["dataset"], run["output"])
    return run


def planned_run(
    locations: Locations, recommender: str, version: str, dataset: str, key: str
) -> dict[str, Any]:
    """Return what a run reads and where it writes."""
    return {
        "version": version,
        "version_uri": locations.version(recommender, version),
        "dataset": dataset,
        "run_key": key,
        "output": locations.recommendation_run(recommender, key),
    }


def plan_recommend(run: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return the job of the cluster and the directory it has to seal."""
    return stages.recommend(run, params)


@named_errors_are_final
def read_counts(run: dict[str, Any]) -> dict[str, Any]:
    """Return the job's summary: users by where their list comes from, rows, rates, memory."""
    summary = read_json(run["output"], SUMMARY)
    for name, value in summary.items():
        log.info("%-20s %s", name, value)
    return summary


@named_errors_are_final
def publish(recommender: Recommender, run: dict[str, Any]) -> dict[str, Any]:
    """Point ``latest.json`` at the run's lists, if they are still the champion's."""
    locations = environment.load().locations
    target = locations.latest_recommendations(recommender.name)
    outcome = recommendations.publish(
        locations, recommender.name, run["output"], run["run_key"], dt.datetime.now(dt.UTC)
    )
    if outcome.withheld:
        log.warning("%s stays: %s", target, outcome.withheld)
    else:
        log.info("%s names %s", target, run["output"])
    return {
        "latest": target,
        "uri": run["output"],
        "version": run["version"],
        "is_latest": not outcome.withheld,
        "reason": outcome.withheld,
    }


def _champion(locations: Locations, recommender: str) -> str:
    current = registry.read_champion(locations, recommender)
    if current is None:
        message = (
            f"expected a champion of {recommender}, found none: nothing has been promoted yet. "
            f"Run retrain_{recommender} first, or name a version."
        )
        raise NotFoundError(message)
    return current[0].version

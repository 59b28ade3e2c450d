"""Move and tidy what is published, from DAGs: the same actions as the command line's."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from recommender import environment
from recommender.registry import changes, retention
from recommender.registry.changes import Request
from recommender.registry.retention import Fate, Policy
from recsys_emr.pipeline import named_errors_are_final

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


@named_errors_are_final
def choose_rollback(context: Context) -> dict[str, str]:
    """Say which version to leave and which to return to.

    In a task of its own: the next one names both, so that its retry finds itself done and never
    rolls back once more.
    """
    params = context["params"]
    locations = environment.load().locations
    leave, target = changes.target_of_rollback(locations, params["recommender"], params["to"])
    if params["champion"] and params["champion"] != leave:
        message = (
            f"expected champion {params['champion']} to roll back from, found {leave}: it has moved "
            "meanwhile. Look at it, and trigger again."
        )
        raise AirflowFailException(message)
    log.info("rolling back from %s to %s", leave, target)
    return {"leave": leave, "to": target}


@named_errors_are_final
def roll_back(chosen: dict[str, str], context: Context) -> dict[str, Any]:
    """Roll back from the chosen version to the chosen one."""
    done = changes.roll_back(
        environment.load().locations, request(context), leave=chosen["leave"], target=chosen["to"]
    )
    log.info("champion is %s", done.champion.version)
    return {
        "moved": done.moved,
        "champion": done.champion.version,
        "record": done.champion.sequence,
    }


@named_errors_are_final
def plan_prune(context: Context) -> dict[str, Any]:
    """Log which versions would go, and why the others stay; nothing is changed."""
    recommender = context["params"]["recommender"]
    fates = retention.plan(environment.load().locations, recommender, _policy(context))
    return _told(fates)


@named_errors_are_final
def prune(context: Context) -> dict[str, Any]:
    """Delete what the plan does not keep; it is made again, for the champion may have moved."""
    return _told(retention.prune(environment.load().locations, request(context), _policy(context)))


def request(context: Context) -> Request:
    """Return who asks and why: the person who triggered the run, and the run."""
    dag_run, params = context["dag_run"], context["params"]
    person = getattr(dag_run, "triggering_user_name", None) or "airflow"
    try:
        return Request(
            params["recommender"],
            f"{person} by {dag_run.dag_id} {dag_run.run_id}",
            params["reason"] or "",
            dt.datetime.now(dt.UTC),
        )
    except ValueError as error:
        raise AirflowFailException(f"Param reason: {error}") from error


def _policy(context: Context) -> Policy:
    params = context["params"]
    return Policy(params["last"], params["champions"], frozenset(params["keep"]))


def _told(fates: list[Fate]) -> dict[str, Any]:
    for fate in fates:
        log.info("%-28s %s", fate.version.name, fate.kept or "goes")
    gone = [fate.version for fate in fates if not fate.kept]
    freed = sum(version.size or 0 for version in gone)
    return {"kept": len(fates) - len(gone), "gone": [v.name for v in gone], "bytes": freed}

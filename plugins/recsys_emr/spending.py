"""Do what the DAG's tasks do about money: plan a run, price a stage, hold the budget between.

Turns Airflow's context into calls of ``plan`` and ``costs``, which know the how.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from recommender import environment
from recommender.clusters import pricing
from recommender.clusters.pricing import Cost, PriceTable
from recommender.config import Recommender
from recommender.environment import Environment
from recommender.errors import ConfigError
from recsys_emr import clusters, costs
from recsys_emr import plan as planning
from recsys_emr.stage_task import owner_of

if TYPE_CHECKING:
    from airflow.sdk import Context
    from mypy_boto3_emr import EMRClient

log = logging.getLogger(__name__)


def plan_run(
    recommender: Recommender,
    config_file: str,
    run: dict[str, Any],
    champion: str | None,
    context: Context,
) -> dict[str, Any]:
    """Log the exact requests, paths, policies, minutes and price, and hold it to the budget.

    Args:
        recommender: its configuration.
        config_file: the file of that configuration.
        run: what ``resolve_run`` returned.
        champion: directory of the version in use; None before the first.
        context: the task's.
    """
    return _tell(
        lambda: planning.make(
            environment.load(),
            recommender,
            Path(config_file),
            run,
            run_id=context["dag_run"].run_id,
            params=context["params"],
            champion=champion,
        )
    )


def plan_recommendations(
    recommender: Recommender, config_file: str, run: dict[str, Any], context: Context
) -> dict[str, Any]:
    """Do as ``plan_run`` for a run that makes everyone's lists."""
    return _tell(
        lambda: planning.make_recommend(
            environment.load(),
            recommender,
            Path(config_file),
            run,
            run_id=context["dag_run"].run_id,
            params=context["params"],
        )
    )


def _tell(make: Callable[[], planning.Plan]) -> dict[str, Any]:
    try:
        plan = make()
        log.info("the plan:\n%s", plan.text())
        costs.check_budget(plan.budget_usd, [], [stage.expected for stage in plan.stages])
    except (ConfigError, costs.BudgetError) as error:
        raise AirflowFailException(str(error)) from error
    return plan.to_json()


def hold_budget(recommender: Recommender, spent: list[dict[str, Any]], shape: str) -> None:
    """Refuse to train when that would exceed the budget, by what the stages before really cost.

    Args:
        recommender: its configuration.
        spent: what ``price_stage`` returned for the stages that have run.
        shape: of the training cluster.

    Raises:
        AirflowFailException: it would, or nobody knows; no retry mends that.
    """
    env = environment.load()
    try:
        to_come = costs.expected(env, shape, pricing.load(env.emr.region))
        costs.check_budget(recommender.budget_usd, spent, [to_come])
    except (ConfigError, costs.BudgetError) as error:
        raise AirflowFailException(str(error)) from error


def hold_attempt(
    allowance: costs.Allowance,
    env: Environment,
    shape: str,
    spent: list[dict[str, Any]],
    tried: Iterable[str],
) -> None:
    """Refuse another cluster for a stage that would take the run beyond its budget.

    Args:
        allowance: the budget, and the stages to come after this one, which want their share.
        env: the environment.
        shape: the stage's shape; the next attempt is expected to cost what the first was.
        spent: what ``price_stage`` returned for the stages before.
        tried: ids of this stage's clusters so far, all ended; what they cost is spent, too.

    Raises:
        BudgetError: it would, or nobody knows.
        ConfigError: there is no price table.
        ClientError: EMR does not tell what the clusters have cost; a retry asks again.
    """
    if allowance.usd is None:
        return
    table = pricing.load(env.emr.region)
    cost = _cost_of(clusters.emr_client(env.emr.region), tried, env, shape, table)
    so_far = costs.stage_cost("this stage", cost, table, simulated=env.simulated)
    to_come = [costs.expected(env, name, table) for name in (shape, *allowance.later)]
    costs.check_budget(allowance.usd, [*spent, so_far], to_come)


def price_stage(stage: str, shape: str | None, context: Context) -> dict[str, Any]:
    """Return what a stage's clusters have cost: those of all its attempts, well ended or not.

    Without a shape the stage was never planned: then there is no cluster, or its price is unknown.

    A price that cannot be had does not fail a run, but is not zero either: after the last retry it
    is unknown, and a budget refuses to go on with that.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    env = environment.load()
    table = pricing.load(env.emr.region)
    try:
        client = clusters.emr_client(env.emr.region)
        found = clusters.of_stage(client, owner_of(context, env, stage))
        cost = _cost_of(client, [one.cluster_id for one in found], env, shape, table)
    except (BotoCoreError, ClientError) as error:
        if context["ti"].try_number <= context["ti"].max_tries:
            raise
        log.warning("EMR does not tell what stage %s has cost: %s", stage, error)
        found, cost = [], pricing.Cost(None, 0.0, (f"the clusters of stage {stage}",))
    ids = [one.cluster_id for one in found]
    priced = costs.stage_cost(stage, cost, table, simulated=env.simulated, clusters=ids)
    log.info("%s:\n%s", ", ".join(ids) or "no cluster", costs.describe([priced], None))
    return priced


def _cost_of(
    client: EMRClient, ids: Iterable[str], env: Environment, shape: str | None, table: PriceTable
) -> Cost:
    """Add up what clusters of one shape have cost until now."""
    if shape is None:
        return pricing.add(Cost(None, 0.0, (f"cluster {cluster_id}",)) for cluster_id in ids)
    now, shaped = dt.datetime.now(dt.UTC), env.shape(shape)
    lives = [costs.read_usage(client, cluster_id, shaped, now) for cluster_id in ids]
    return pricing.add(pricing.cost(usage, table) for usage in lives)

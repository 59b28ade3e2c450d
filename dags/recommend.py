"""Recommend to everyone: the champion's lists for all users and all items, by morning.

**When.** Whenever a recommender has another champion: the asset *champion_of_...* is announced by
the retraining that promotes and by the rollback that goes back. A verdict that leaves the champion
announces nothing.

**What happens.** One transient EMR cluster ranks all items for every user of the newest decided
dataset: seen items left out, users with new purchases folded in on all they have, the popular items
for those of whom nothing is known, the deny list's items nowhere. Similar items come along.
Everything lies below one directory whose manifest is written last; then `latest.json` beside it
names that directory, if its version is still champion. Readers follow `latest.json` and never see half.

**Where to look.** `read_counts` has the run's numbers (users by where their list comes from, rows,
users a second, memory), `publish` the pointer and, if it stayed, why. The cluster is planned,
priced and held to `budget_usd` as those of the retraining are.

**By hand.** *Version* makes the lists of any published version; the pointer moves only to the
champion's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from recommender import config, environment
from recommender.config import Recommender
from recsys_emr import assets, dag_parts, pipeline, recommending, spending
from recsys_emr.costs import Allowance


def recommend(settings: Recommender, config_file: Path) -> DAG:
    """Build the DAG of one recommender."""
    with DAG(
        dag_id=f"recommend_{settings.name}",
        description=f"Lists for everyone: {settings.description}",
        doc_md=__doc__,
        schedule=assets.champion(settings.name),
        catchup=False,
        max_active_runs=1,
        params=params(settings),
        default_args={**dag_parts.DEFAULT_ARGS, "owner": settings.owner},
        tags=["recommender", settings.dataset],
    ) as dag:

        @task
        def resolve_run() -> dict[str, Any]:
            """Decide whose lists are made, for whom, and where they go."""
            return recommending.resolve_run(settings, get_current_context())

        @task.short_circuit
        def plan(run: dict[str, Any]) -> bool:
            """Log the request, the policies and the price; hold the budget."""
            context = get_current_context()
            found = spending.plan_recommendations(settings, str(config_file), run, context)
            context["ti"].xcom_push("plan", found)
            return not context["params"]["plan_only"]

        @task
        def stage_code() -> dict[str, str]:
            """Upload the code and the configuration under their content hash."""
            return pipeline.stage_code(str(config_file))

        @task
        def plan_recommend(run: dict[str, Any]) -> dict[str, Any]:
            """Write down the job of the cluster and what it must leave behind."""
            return recommending.plan_recommend(run, dict(get_current_context()["params"]))

        @task
        def read_counts(run: dict[str, Any]) -> dict[str, Any]:
            """Pull the run's counts into XCom."""
            return recommending.read_counts(run)

        @task
        def publish(run: dict[str, Any]) -> dict[str, Any]:
            """Point readers at the lists."""
            return recommending.publish(settings, run)

        run: Any = resolve_run()  # Any: an XComArg here, the value itself when the task runs
        code: Any = stage_code()
        todo: Any = plan_recommend(run)
        done, _ = dag_parts.on_cluster(
            "recommend", settings.clusters.recommend, code, todo, Allowance(settings.budget_usd)
        )

        plan(run) >> [code, todo]
        done >> read_counts(run) >> publish(run)
        dag_parts.judge(dag)
    return dag


def params(settings: Recommender) -> dict[str, Param]:
    """Return the trigger form: typed, each with its default from the configuration."""
    defaults = settings.recommend
    return {
        "version": Param(
            None,
            type=["null", "string"],
            title="Version",
            description="A published version. Empty: the champion.",
        ),
        "n": Param(
            defaults.n,
            type="integer",
            minimum=1,
            maximum=1000,
            title="N",
            description="Length of every list.",
        ),
        "json_lines": Param(
            defaults.format == "jsonl",
            type="boolean",
            title="JSON Lines",
            description="Write gzipped JSON Lines, one line a list. Off: Parquet, one row an item.",
        ),
        "deny_list": Param(
            defaults.deny_list,
            type=["null", "string"],
            title="Deny list",
            description="Text file (s3://...) with the ids of items never to be recommended, one a "
            "line. Empty: nothing is denied.",
        ),
        "plan_only": dag_parts.plan_only(),
    }


for file in environment.recommender_files():
    recommend(config.load(str(file)), file)

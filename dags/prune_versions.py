"""Delete published versions that nobody needs any more.

**What stays.** The champion, the versions of the last champion records (where a rollback goes), the
newest versions by snapshot, those named in *Keep*, and what is unfinished. Decisions and the
champion's history are never deleted; the manifest of a deleted version is kept in `pruned/`.

**What happens.** `plan` logs what would go and why the rest stays; with *Dry run*, which is on unless
you switch it off, the run ends there. A promotion that happens meanwhile is safe: whoever comes
second finds out. A retry of a deleted version's run says that it was pruned.

**Space.** On a bucket with versioning, deleted objects take space until a lifecycle rule expires
noncurrent versions.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from recommender.registry.retention import Policy
from recsys_emr import by_hand, upkeep

DEFAULT = Policy()

with DAG(
    dag_id="prune_versions",
    description="Deletes published versions that nobody needs any more.",
    doc_md=__doc__,
    **by_hand.settings(dt.timedelta(minutes=2), dt.timedelta(hours=1)),
    params={
        "recommender": by_hand.recommender("Whose versions."),
        "last": Param(
            DEFAULT.last,
            type="integer",
            minimum=1,
            title="Newest versions",
            description="How many to keep, newest snapshot first.",
        ),
        "champions": Param(
            DEFAULT.champions,
            type="integer",
            minimum=2,
            title="Champions",
            description="How many records of the champion's history keep their versions.",
        ),
        "keep": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Keep",
            description="Versions to keep whatever their age.",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only say what would go. Switch off to delete.",
        ),
        "reason": by_hand.reason("retention"),
    },
) as dag:

    @task.short_circuit
    def plan() -> bool:
        """Say which versions would go, and end the run here if that is all that was wanted."""
        context = get_current_context()
        context["ti"].xcom_push("plan", upkeep.plan_prune(context))
        return not context["params"]["dry_run"]

    @task
    def prune() -> dict[str, Any]:
        """Plan again, mark what goes, and delete it."""
        return upkeep.prune(get_current_context())

    plan() >> prune()

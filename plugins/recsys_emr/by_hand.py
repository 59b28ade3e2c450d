"""Build what the DAGs that a person starts share: how they run, and two fields of their forms."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import Param

from recommender import config, environment


def settings(retry_delay: dt.timedelta, execution_timeout: dt.timedelta) -> dict[str, Any]:
    """Return the DAG's arguments: no schedule, one run at a time, no switch in the way at night."""
    return {
        "schedule": None,
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": False,
        "default_args": {
            "owner": "platform",
            "retries": 2,
            "retry_delay": retry_delay,
            "execution_timeout": execution_timeout,
        },
        "tags": ["recommender", "operations"],
    }


def recommender(description: str) -> Param:
    """Return the field that chooses one of the configured recommenders; the only one is the default."""
    known = [config.load(str(file)).name for file in environment.recommender_files()]
    return Param(
        known[0] if len(known) == 1 else None,
        type="string",
        enum=known,
        title="Recommender",
        description=description,
    )


def reason(default: str | None = None) -> Param:
    """Return the field for why; without a default a person has to say it."""
    return Param(
        default,
        type="string",
        minLength=1,
        title="Reason",
        description="Why; kept in the record.",
    )

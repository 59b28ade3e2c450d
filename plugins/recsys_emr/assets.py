"""Tell Airflow that a recommender has another champion: what depends on the model follows it.

The event goes through an alias, because a task's plain outlet is announced whenever the task
succeeds, and publication succeeds also when it registers a version or has nothing to do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

MOVED = AssetAlias("recsys_champion_moved")
"""Outlet of every task that may move a pointer."""


def champion(recommender: str) -> Asset:
    """Return the asset that stands for a recommender's published model.

    With a scheme of its own (``x-``): for ``s3`` Airflow would load every provider at parse time.
    """
    return Asset(name=f"champion_of_{recommender}", uri=f"x-recsys://champions/{recommender}")


def announce(context: Context, recommender: str, version: str) -> None:
    """Emit the asset's event; the task needs ``outlets=[MOVED]``.

    A retry may announce a move twice: what follows it looks at the champion, so that does no harm.
    """
    context["outlet_events"][MOVED].add(champion(recommender), extra={"version": version})
    log.info("announced champion %s of %s", version, recommender)

"""Return to the champion before, and withdraw the present one.

**What happens.** The pointer goes back to the last champion that was not itself rolled back (or to
the version in *Return to*), once every file of it is verified. The run whose version is left is
withdrawn: no retry of it promotes that version again. Who, when and why are kept in the history.
The lists for everyone are made anew (`recommend_...` follows the champion).

**Before.** `recsys champions` shows the history, `recsys why VERSION` a version's verdict. Name the
*Champion* you have in mind: if another one has taken its place meanwhile, nothing is changed.

**Undoing it.** `recsys promote VERSION --reason ...` makes the withdrawn version champion again.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from recsys_emr import assets, by_hand, upkeep

with DAG(
    dag_id="rollback_recommender",
    description="Returns to the champion before, and withdraws the present one.",
    doc_md=__doc__,
    **by_hand.settings(dt.timedelta(seconds=30), dt.timedelta(minutes=15)),
    params={
        "recommender": by_hand.recommender("Whose champion."),
        "champion": Param(
            None,
            type=["null", "string"],
            title="Champion",
            description="The version to roll back from. Empty: whichever is champion.",
        ),
        "to": Param(
            None,
            type=["null", "string"],
            title="Return to",
            description="The version to return to. Empty: the last champion not rolled back.",
        ),
        "reason": by_hand.reason(),
    },
) as dag:

    @task
    def choose() -> dict[str, str]:
        """Say which version to leave and which to return to."""
        return upkeep.choose_rollback(get_current_context())

    @task(outlets=[assets.MOVED])
    def roll_back(chosen: dict[str, str]) -> dict[str, Any]:
        """Verify the version to return to, and move the pointer."""
        context = get_current_context()
        done = upkeep.roll_back(chosen, context)
        assets.announce(context, context["params"]["recommender"], done["champion"])
        return done

    chosen: Any = choose()  # Any: an XComArg here, the value itself when the task runs
    roll_back(chosen)

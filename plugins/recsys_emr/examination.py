"""Look at prepared data before training: may it be trained on, and would that give anything new?

Turns Airflow's context into calls of ``checks`` and ``identity``, which know the rules.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from recommender import checks, environment, manifest, registry, storage
from recommender.config import Recommender
from recommender.errors import BadDataError
from recommender.lake import snapshots
from recommender.lineage import identity, predecessor
from recommender.locations import CHECKS, PROFILE, join
from recommender.objective import SPARK
from recsys_emr.pipeline import choose_engine, named_errors_are_final, read_json

log = logging.getLogger(__name__)

_LEVELS = {"warned": logging.WARNING, "accepted": logging.WARNING}


@named_errors_are_final
def check_data(
    recommender: Recommender, run: dict[str, Any], params: dict[str, Any]
) -> dict[str, Any]:
    """Hold the data against the previous run's, record the verdict and return it.

    Args:
        recommender: its configuration; ``checks`` holds the limits.
        run: what ``resolve_run`` returned.
        params: the run's Params; ``accept_data`` is a person's reason to go on in spite of a block.
    """
    locations = environment.load().locations
    snapshot, key = snapshots.parse_date(run["snapshot"]), run["run_key"]
    previous = predecessor.find(locations, recommender.name, snapshot, key)
    try:
        verdict = checks.judge(
            recommender.name,
            snapshot,
            key,
            read_json(run["dataset"], PROFILE),
            previous,
            recommender.checks,
            accepted=params["accept_data"],
            checked_at=dt.datetime.now(dt.UTC),
        )
    except checks.MalformedProfileError as error:
        message = f"{join(run['dataset'], PROFILE)}: {error}; preprocess again with this code"
        raise BadDataError(message) from error
    uri = join(run["checks"], CHECKS)
    storage.write_json(uri, verdict.to_json())
    log.info("the data checks, against %s:\n%s", previous and previous.run_key, verdict.table())
    log.log(
        _LEVELS.get(verdict.outcome, logging.INFO), "data %s: %s", verdict.outcome, verdict.reason
    )
    return {**verdict.to_json(), "uri": uri}


def require_good_data(verdict: dict[str, Any]) -> None:
    """End a run whose data is blocked.

    Raises:
        AirflowFailException: it is; the message says what to do.
    """
    if verdict["outcome"] != "blocked":
        return
    message = (
        f"the data differs too much from the previous run's: {verdict['reason']}. Nothing was "
        f"trained. Repair the snapshot; or, if the data is right, run again and give the reason in "
        f"'Accept the data', or widen `checks` in the recommender's YAML. All checks: {verdict['uri']}"
    )
    raise AirflowFailException(message)


@named_errors_are_final
def is_new(
    recommender: Recommender, run: dict[str, Any], code: dict[str, str], params: dict[str, Any]
) -> bool:
    """Tell whether there is anything that the champion was not trained on; see ``identity``.

    Args:
        recommender: its configuration.
        run: what ``resolve_run`` returned.
        code: what ``stage_code`` returned.
        params: the run's Params; ``retrain_identical`` and ``wide_search`` ask for training anyway.
    """
    champion = registry.read_champion(environment.load().locations, recommender.name)
    if champion is None:
        return True
    version = champion[0].version
    engine = choose_engine(recommender, run, params)["engine"]
    mine = identity.Training(
        data=identity.content(manifest.read(run["dataset"], "dataset")),
        code=code["content_hash"],
        k=params["k"],
        trials=0 if engine == SPARK else params["search_trials"] or 0,  # Spark has no search
        engine=engine,
    )
    theirs = identity.of_version(manifest.read(champion[0].uri, "version").about)
    if differs := mine.difference(theirs):
        log.info("training: %s differs from champion %s", differs, version)
        return True
    if params["retrain_identical"] or params["wide_search"]:
        log.info("training on the data of champion %s again, because the run asks for it", version)
        return True
    log.warning(
        "nothing to train: data, code and settings are those of champion %s (snapshot %s), which "
        "stays. Turn on 'Retrain identical data' to train anyway.",
        version,
        champion[0].snapshot,
    )
    return False

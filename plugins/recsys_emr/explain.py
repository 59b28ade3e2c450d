"""Show in the task's log why a cluster failed, and say it in one screen."""

from __future__ import annotations

import logging
from dataclasses import replace

from recommender.errors import RecommenderError
from recsys_emr import logs
from recsys_emr.classify import classify
from recsys_emr.failures import Failure, Kind
from recsys_emr.outcome import Outcome

log = logging.getLogger(__name__)

_SHOWN_BOOTSTRAP_LOGS = 4


def explain(outcome: Outcome, cluster_id: str, root: str, patience: float) -> Failure:
    """Log the last lines of what failed, and return the failure with its class.

    Logs are awaited only for a step that ran: a cluster that never got so far has none.

    Args:
        outcome: how the cluster ended.
        cluster_id: the cluster.
        root: the LogUri given to EMR.
        patience: seconds to wait for logs, for all of them together.
    """
    texts = dict.fromkeys(logs.STREAMS, "")
    if outcome.broken:
        step_id = outcome.broken[0].step_id
        uris = [logs.step_log(root, cluster_id, step_id, stream) for stream in logs.STREAMS]
        found = logs.fetch(uris, patience)
        _show(found)
        texts = {stream: entry.text for stream, entry in zip(logs.STREAMS, found, strict=True)}
    failure = classify(outcome, texts["stderr"], texts["stdout"])
    if failure.kind is Kind.BOOTSTRAP:
        failure = _with_bootstrap_logs(failure, root, cluster_id)
    log.error("%s\n  class: %s\n  next: %s", failure.summary, failure.kind, failure.next_action)
    return failure


def message(outcome: Outcome, failure: Failure, cluster_id: str, root: str) -> str:
    """Return the exception's text: cause, class, next action, EMR's own words, the logs' place."""
    where = f"  logs: {root.rstrip('/')}/{cluster_id}/"
    return f"{failure}\n{outcome.explain(cluster_id)[:1500]}\n{where}"


def _with_bootstrap_logs(failure: Failure, root: str, cluster_id: str) -> Failure:
    try:
        uris = logs.bootstrap_logs(root, cluster_id)
    except RecommenderError as error:  # the explanation must not fail for want of a log
        log.warning("the bootstrap logs cannot be listed: %s", error)
        uris = []
    _show(logs.fetch(uris[:_SHOWN_BOOTSTRAP_LOGS], patience=0))
    below = f"{root.rstrip('/')}/{cluster_id}/node/"
    return replace(failure, next_action=f"{failure.next_action}; they are below {below}")


def _show(found: list[logs.Log]) -> None:
    for entry in found:
        log.error("last lines of %s:\n%s", entry.uri, entry.tail)

"""Show in the task's log why a cluster failed, and say it in one screen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from recommender.errors import RecommenderError
from recsys_emr import logs
from recsys_emr.classify import classify
from recsys_emr.failures import Failure, Kind
from recsys_emr.failures import failure as failure_of
from recsys_emr.outcome import FailedStep, Outcome

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
    texts = _show_steps(outcome.broken, cluster_id, root, patience)
    failure = classify(outcome, texts["stderr"], texts["stdout"])
    if failure.kind is Kind.BOOTSTRAP:
        failure = _with_bootstrap_logs(failure, root, cluster_id)
    return _logged(failure)


def explain_late(
    outcome: Outcome, cluster_id: str, root: str, patience: float, minutes: float
) -> Failure:
    """Log the last lines of the step that was at work, and return the time-out."""
    _show_steps(outcome.cut_short, cluster_id, root, patience)
    text = f"cluster {cluster_id} did not end within {minutes:g} minutes and is being terminated"
    return _logged(failure_of(Kind.TIME_OUT, text))


def message(outcome: Outcome, failure: Failure, cluster_id: str, root: str) -> str:
    """Return the exception's text: cause, class, next action, EMR's own words, the logs' place."""
    where = f"  logs: {root.rstrip('/')}/{cluster_id}/"
    return f"{failure}\n{outcome.explain(cluster_id)[:1500]}\n{where}"


def _show_steps(
    steps: Sequence[FailedStep], cluster_id: str, root: str, patience: float
) -> dict[str, str]:
    """Log the tails of the first step's streams; return what they hold, empty without a step."""
    texts = dict.fromkeys(logs.STREAMS, "")
    for step in steps[:1]:
        uris = [logs.step_log(root, cluster_id, step.step_id, stream) for stream in logs.STREAMS]
        found = logs.fetch(uris, patience)
        _show(found)
        texts = {stream: entry.text for stream, entry in zip(logs.STREAMS, found, strict=True)}
    return texts


def _logged(failure: Failure) -> Failure:
    log.error("%s", failure)
    return failure


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

"""Write down the jobs of each cluster and the directories they have to seal: pure, no AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def preprocess(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the jobs of the preprocessing cluster: raw lines to a dataset."""
    arguments = ["--snapshot", run["snapshot_uri"], "--snapshot-date", run["snapshot"]]
    arguments += ["--output", run["dataset"], "--quarantine", run["quarantine"]]
    steps = [{"job": "preprocess", "arguments": arguments}]
    return {"steps": steps, "produces": {run["dataset"]: "dataset"}}


def train(
    run: Mapping[str, Any], params: Mapping[str, Any], champion: str | None
) -> dict[str, Any]:
    """Return the jobs of the training cluster: fit, measure beside others, load and ask again.

    Args:
        run: what ``resolve_run`` returned.
        params: the run's Params; ``k``, ``search_trials`` and ``wide_search`` are used.
        champion: directory of the version in use; None before the first.
    """
    overrides = ["--set", f"evaluate.k={params['k']}"]
    if params["search_trials"] is None:
        overrides += ["--set", "train.search=null"]
    else:
        overrides += ["--set", f"train.search.trials={params['search_trials']}"]
    fit = ["--dataset", run["dataset"], "--output", run["candidate"], *overrides]
    fit += ["--study", run["study"], "--kept-setting", run["setting"]]
    if params["wide_search"]:
        fit += ["--wide"]
    measure = ["--dataset", run["dataset"], "--candidate", run["candidate"]]
    measure += ["--output", run["report"], *overrides]
    measure += ["--lineage", f"snapshot={run['snapshot']}"]
    if champion:
        fit += ["--champion", champion]
        measure += ["--champion", champion]
    ask = ["--candidate", run["candidate"], "--report", run["report"]]
    ask += ["--output", run["verification"], *overrides]
    return {
        "steps": [
            {"job": "train", "arguments": fit},
            {"job": "evaluate", "arguments": measure},
            {"job": "verify", "arguments": ask},  # a process of its own, as a reader is
        ],
        "produces": {
            run["candidate"]: "candidate",
            run["report"]: "report",
            run["verification"]: "verification",
        },
    }

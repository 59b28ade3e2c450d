"""Write down the jobs of each cluster and the directories they have to seal: pure, no AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from recommender.objective import SPARK


def preprocess(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the jobs of the preprocessing cluster: raw lines to a dataset."""
    arguments = ["--snapshot", run["snapshot_uri"], "--snapshot-date", run["snapshot"]]
    arguments += ["--output", run["dataset"], "--quarantine", run["quarantine"]]
    steps = [{"job": "preprocess", "arguments": arguments}]
    return {"steps": steps, "produces": {run["dataset"]: "dataset"}}


def train(
    run: Mapping[str, Any],
    params: Mapping[str, Any],
    champion: str | None,
    engine: str,
    why: str,
) -> dict[str, Any]:
    """Return the jobs of the training cluster: fit, measure beside others, load and ask again.

    Args:
        run: what ``resolve_run`` returned.
        params: the run's Params; ``k``, ``search_trials`` and ``wide_search`` are used.
        champion: directory of the version in use; None before the first.
        engine: what fits ALS.
        why: what speaks for it, for the record.
    """
    overrides = _overrides(params)
    fit = ["--dataset", run["dataset"], "--output", run["candidate"], *overrides]
    fit += ["--set", f"train.engine={engine}"]
    if engine == SPARK:  # it fits `train.distributed` as it is, and refuses a search
        fit += ["--set", "train.search=null"]
    fit += ["--study", run["study"], "--kept-setting", run["setting"], "--engine-why", why]
    if params["wide_search"]:
        fit += ["--wide"]
    if champion:
        fit += ["--champion", champion]
    ask = ["--candidate", run["candidate"], "--report", run["report"]]
    ask += ["--output", run["verification"], *overrides]
    return {
        "steps": [
            {"job": "train", "arguments": fit},
            *measure(run, params, champion)["steps"],
            {"job": "verify", "arguments": ask},  # a process of its own, as a reader is
        ],
        "produces": {
            run["candidate"]: "candidate",
            run["report"]: "report",
            run["verification"]: "verification",
        },
    }


def measure(
    run: Mapping[str, Any], params: Mapping[str, Any], champion: str | None
) -> dict[str, Any]:
    """Return the job that measures a candidate that is there beside others; see ``train``."""
    arguments = ["--dataset", run["dataset"], "--candidate", run["candidate"]]
    arguments += ["--output", run["report"], *_overrides(params)]
    arguments += ["--lineage", f"snapshot={run['snapshot']}"]
    if champion:
        arguments += ["--champion", champion]
    steps = [{"job": "evaluate", "arguments": arguments}]
    return {"steps": steps, "produces": {run["report"]: "report"}}


def recommend(run: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job that makes everyone's lists.

    Args:
        run: what the DAG's ``resolve_run`` returned.
        params: the run's Params; ``n``, ``json_lines`` and ``deny_list`` are used.
    """
    arguments = ["--version", run["version_uri"], "--dataset", run["dataset"]]
    arguments += ["--output", run["output"], "--set", f"recommend.n={params['n']}"]
    form = "jsonl" if params["json_lines"] else "parquet"
    arguments += ["--set", f"recommend.format={form}"]
    # As JSON, which is YAML, too: an empty one is null, and no character of a URI means anything.
    arguments += ["--set", f"recommend.deny_list={json.dumps(params['deny_list'])}"]
    steps = [{"job": "recommend", "arguments": arguments}]
    return {"steps": steps, "produces": {run["output"]: "recommendations"}}


def _overrides(params: Mapping[str, Any]) -> list[str]:
    """Return the settings that a run's Params override."""
    overrides = ["--set", f"evaluate.k={params['k']}"]
    if params["search_trials"] is None:
        return [*overrides, "--set", "train.search=null"]
    return [*overrides, "--set", f"train.search.trials={params['search_trials']}"]

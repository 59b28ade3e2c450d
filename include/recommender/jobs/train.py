"""Train ALS and its contenders from a dataset directory.

Settings are searched on the validation window; the best is fitted again on training plus
validation. Writes a candidate directory: models, id tables, history, search.json, summary.json,
manifest.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recommender import artifact, history, storage, titles
from recommender.artifact import Candidate
from recommender.clusters import sizing
from recommender.config import Recommender
from recommender.dataset import Dataset, open_dataset
from recommender.errors import ConfigError
from recommender.jobs import cli, distributed
from recommender.jobs.outputs import clear, require_apart
from recommender.lineage import provenance
from recommender.locations import SEARCH, SUMMARY
from recommender.objective import IMPLICIT, SPARK
from recommender.training import contenders, engine_choice, kept_setting, plans, study
from recommender.training.engine_choice import Chosen
from recommender.training.kept_setting import Question
from recommender.training.plans import Plan
from recommender.training.study import Study
from recommender.training.train import Trained, train
from recommender.training.warm_start import WarmStart, from_champion

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; see ``--help``."""
    parser = cli.arg_parser("train", __doc__ or "")
    add = parser.add_argument
    add("--dataset", required=True, type=cli.location, metavar="URI", help="what preprocess wrote")
    add("--output", required=True, type=cli.location, metavar="URI", help="candidate; replaced")
    add(
        "--champion",
        type=cli.location,
        metavar="URI",
        help="published version whose factors the final fit goes on from",
    )
    add(
        "--kept-setting",
        type=cli.location,
        metavar="URI",
        help="what the last wide search has found; need not exist",
    )
    add("--wide", action="store_true", help="search widely even if the kept setting serves")
    add("--engine-why", metavar="TEXT", help="why train.engine was chosen, for the record")
    add(
        "--study",
        type=cli.location,
        metavar="URI",
        help="directory for the trials: an interrupted search goes on from there",
    )
    return cli.run(_run, parser, argv)


def _run(arguments: argparse.Namespace, recommender: Recommender) -> None:
    inputs = [arguments.dataset, arguments.champion, arguments.kept_setting]
    outputs = [uri for uri in (arguments.output, arguments.study) if uri]
    require_apart(outputs, [uri for uri in inputs if uri])
    # Before anything can fail: a failed run leaves no older candidate to be trusted.
    clear(arguments.output, lambda name: name in artifact.OWN)
    if recommender.train.engine == SPARK:
        distributed.train(arguments, recommender)
        return
    began = time.monotonic()
    dataset = open_dataset(arguments.dataset)
    chosen = _engine(dataset, recommender, arguments.engine_why)
    asked = plans.question(recommender, dataset.fit_until)
    kept = kept_setting.read(arguments.kept_setting) if arguments.kept_setting else None
    plan = plans.plan(recommender, asked, kept, wide=arguments.wide)
    trained = train(
        dataset.window,
        recommender,
        contenders.build(recommender.train, dataset.features()),
        plan,
        Study(arguments.study, _study_key(dataset, recommender, plan)),
        _warm_start(dataset, None if plan.mode == plans.WIDE else arguments.champion),
    )
    facts = {**_facts(recommender, dataset, trained), "engine": chosen.to_json()}
    candidate = Candidate(trained.models, dataset.users, dataset.items, facts)
    with tempfile.TemporaryDirectory(prefix="recsys-") as name:
        directory = Path(name)
        artifact.write(directory, candidate)
        history.write(directory, history.of_interactions(trained.fit_rows))
        titles.write(directory, titles.align(dataset.titles(), dataset.items))
        storage.write_json(str(directory / SEARCH), _record(trained, asked, facts))
        summary = _summary(dataset, trained, time.monotonic() - began)
        storage.write_json(str(directory / SUMMARY), summary)
        artifact.publish(directory, arguments.output, artifact.CANDIDATE, facts)
    _log.info(f"candidate at {arguments.output}: {summary}")


def _engine(dataset: Dataset, recommender: Recommender, why: str | None) -> Chosen:
    """Choose the engine by this machine, or take what was chosen before this cluster was asked for.

    Raises:
        ConfigError: the data does not fit this machine.
    """
    size = engine_choice.size_of(dataset.profile)
    settings = recommender.train
    chosen = engine_choice.choose(settings.engine, size, settings, sizing.this_machine())
    _log.info(f"engine {why or chosen.why}")
    if chosen.engine != IMPLICIT:
        message = f"{chosen.why}: say train.engine {SPARK}, with train.search null, on a cluster"
        raise ConfigError(message)
    return replace(chosen, why=why or chosen.why)


def _warm_start(dataset: Dataset, champion: str | None) -> WarmStart | None:
    if champion is None:
        return None
    version = artifact.load(champion)
    return from_champion(version, champion, dataset.users, dataset.items, dataset.fit_until)


def _study_key(dataset: Dataset, recommender: Recommender, plan: Plan) -> str:
    """Return the fingerprint of the search: equal ones try the same settings on the same data."""
    return study.fingerprint(
        dataset=dataset.sha256,
        start=plan.start.model_dump(),
        space=plan.space.model_dump(mode="json"),
        seed=recommender.train.seed,
        k=recommender.evaluate.k,
        filter_seen=recommender.evaluate.filter_seen,
        code=provenance.describe()["code_hash"],
    )


def _record(trained: Trained, asked: Question, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of the search; of a wide one with what is worth keeping for later runs."""
    record = trained.search
    if record is None or record["mode"] != plans.WIDE:
        return record
    named = ("recommender", "seed", "dataset", "versions", "code_hash")
    lineage = {name: facts[name] for name in named}
    chosen = record["chosen"]
    keep = kept_setting.document(asked, chosen["setting"], chosen["recall"], lineage)
    return {**record, "keep": keep}


def _facts(recommender: Recommender, dataset: Dataset, trained: Trained) -> dict[str, Any]:
    """Return what a reader of the candidate's manifest should know."""
    settings = recommender.train
    return {
        "recommender": recommender.name,
        "fit_until": dataset.fit_until,
        "seed": settings.seed,
        "threads": settings.threads or os.cpu_count(),
        "settings": settings.model_dump(mode="json"),
        "setting": trained.setting.model_dump(),
        "training": trained.notes,
        "dataset": {"uri": dataset.uri, "sha256": dataset.sha256, "about": dataset.about},
        **provenance.describe(),
    }


def _summary(dataset: Dataset, trained: Trained, seconds: float) -> dict[str, Any]:
    """Return the small record that a caller reads first."""
    users, items = dataset.shape
    record = trained.search
    return {
        "setting": trained.setting.model_dump(),
        "validation_recall": None
        if record is None
        else {artifact.ALS: record["chosen"]["recall"], **record["baselines"]},
        "search": plans.NONE if record is None else record["mode"],
        "trials": 0 if record is None else len(record["trials"]),
        "warm_start": trained.notes["warm_start"],
        "rows": len(trained.fit_rows),
        "users": users,
        "items": items,
        "fit_until": dataset.fit_until,
        "seconds": round(seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(main())

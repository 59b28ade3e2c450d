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
from pathlib import Path
from typing import Any

from recommender import artifact, contenders, history, provenance, storage
from recommender.artifact import Candidate
from recommender.config import Recommender
from recommender.dataset import TRAIN, VALIDATION, Dataset, open_dataset
from recommender.jobs import cli
from recommender.jobs.outputs import clear, require_apart
from recommender.locations import SUMMARY
from recommender.training import Trained, train

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; see ``--help``."""
    parser = cli.arg_parser("train", __doc__ or "")
    add = parser.add_argument
    add("--dataset", required=True, type=cli.location, metavar="URI", help="what preprocess wrote")
    add("--output", required=True, type=cli.location, metavar="URI", help="candidate; replaced")
    return cli.run(_run, parser, argv)


def _run(arguments: argparse.Namespace, recommender: Recommender) -> None:
    require_apart([arguments.output], [arguments.dataset])
    # Before anything can fail: a failed run leaves no older candidate to be trusted.
    clear(arguments.output, lambda name: name in artifact.OWN)
    began = time.monotonic()
    dataset = open_dataset(arguments.dataset)
    trained = train(
        dataset.window(TRAIN),
        dataset.window(VALIDATION),
        recommender.train,
        recommender.evaluate,
        contenders.build(recommender.train, dataset.features()),
    )
    facts = _facts(recommender, dataset, trained)
    candidate = Candidate(trained.models, dataset.users, dataset.items, facts)
    with tempfile.TemporaryDirectory(prefix="recsys-") as name:
        directory = Path(name)
        artifact.write(directory, candidate)
        history.write(directory, history.of_interactions(trained.fit_rows))
        storage.write_json(str(directory / artifact.SEARCH), trained.search)
        summary = _summary(dataset, trained, time.monotonic() - began)
        storage.write_json(str(directory / SUMMARY), summary)
        artifact.publish(directory, arguments.output, artifact.CANDIDATE, facts)
    _log.info(f"candidate at {arguments.output}: {summary}")


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
        "trials": 0 if record is None else len(record["trials"]),
        "rows": len(trained.fit_rows),
        "users": users,
        "items": items,
        "fit_until": dataset.fit_until,
        "seconds": round(seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(main())

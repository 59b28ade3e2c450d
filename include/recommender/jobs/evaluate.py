"""Measure a candidate, its contenders and the champion on the test window of a dataset.

Writes report.json (metrics on one population, paired comparisons with intervals, curves over K,
cohorts, cold start, lineage), samples.json (ten users with their lists) and probes.json (what the
fixed users of the verification get).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Any

from recommender import artifact, manifest
from recommender.config import Recommender
from recommender.dataset import TEST, TRAIN, VALIDATION, Dataset, open_dataset
from recommender.distributed import layout
from recommender.evaluation import cold_start, probes, samples
from recommender.evaluation.champion import Champion
from recommender.evaluation.leaderboard import Ranker, choose_population, evaluate
from recommender.evaluation.samples import CHAMPION
from recommender.jobs import cli, distributed, measured
from recommender.jobs.measured import Measured
from recommender.jobs.outputs import clear, require_apart
from recommender.locations import MANIFEST, PROBES, REPORT, SAMPLES
from recommender.training import contenders

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; see ``--help``."""
    parser = cli.arg_parser("evaluate", __doc__ or "")
    add = parser.add_argument
    add("--dataset", required=True, type=cli.location, metavar="URI", help="what preprocess wrote")
    add("--candidate", required=True, type=cli.location, metavar="URI", help="what train wrote")
    add("--output", required=True, type=cli.location, metavar="URI", help="report; replaced")
    add(
        "--champion",
        type=cli.location,
        metavar="URI",
        help="published version to score again on the same users",
    )
    add(
        "--lineage",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="a fact to keep in the report's lineage; repeatable",
    )
    return cli.run(_run, parser, argv)


def _run(arguments: argparse.Namespace, recommender: Recommender) -> None:
    inputs = [arguments.dataset, arguments.candidate, arguments.champion]
    require_apart([arguments.output], [uri for uri in inputs if uri])
    clear(arguments.output, lambda name: name in {PROBES, REPORT, SAMPLES, MANIFEST})
    if layout.is_sharded(manifest.read(arguments.candidate, artifact.CANDIDATE).files):
        distributed.evaluate(arguments, recommender)
        return
    dataset = open_dataset(arguments.dataset)
    candidate = artifact.load(arguments.candidate)
    measured.require_same_dataset(candidate.about, dataset)
    models: dict[str, Ranker] = dict(candidate.models)
    theirs = None
    if arguments.champion:
        version = artifact.load(arguments.champion)
        theirs = version.about
        models[CHAMPION] = Champion(version, dataset.users, dataset.items)
        del version  # the champion has arrays of its own
    measured_cold = _cold(dataset, recommender)  # first: its windows are gone when the rest is read
    history, held_out = dataset.window(TRAIN, VALIDATION), dataset.pairs(TEST)
    report = evaluate(models, history.matrix(), held_out, recommender.evaluate)
    report["cold"] = measured_cold
    population = choose_population(history.matrix(), held_out, recommender.evaluate)
    ids = dataset.users, dataset.items
    drawn = samples.draw(models, history, population, recommender.evaluate, ids)
    asked = probes.draw(candidate.models[artifact.ALS], history, recommender.evaluate, ids)
    found = Measured(report, drawn, asked)
    measured.write(found, dataset, candidate.about, theirs, recommender, arguments)


def _cold(dataset: Dataset, recommender: Recommender) -> dict[str, Any]:
    """Measure newcomers; the models are fitted anew, on the training window alone."""
    built = contenders.build(recommender.train, dataset.features())
    training, validation = dataset.window(TRAIN), dataset.window(VALIDATION)
    k = recommender.evaluate.k
    return cold_start.measure(training, validation, built.for_new_users, built.for_new_items, k)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        message = f"expected KEY=VALUE, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return key, value


if __name__ == "__main__":
    sys.exit(main())

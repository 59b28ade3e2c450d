"""Train and measure a published version again from its manifest alone, and compare.

Says bit-equal (files and metrics), metric-equal (every metric within --tolerance) or different. The
setting that was chosen is fitted again, from the same start and with the same seed and threads; the
search that chose it is not repeated, because it is bounded by time. A version of engine spark is fitted
with Spark on this machine; its shards have other names each time, so metric-equal is the best it gets.
Writes candidate/, report/ and reproduction.json below --output, in place of an earlier run's. Exit code
0 for the first two answers, 3 for the third.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from recommender import manifest, storage
from recommender.artifact import POPULARITY
from recommender.distributed import layout
from recommender.errors import NotReproducedError
from recommender.jobs import cli, evaluate, train
from recommender.jobs.outputs import clear, require_apart
from recommender.lineage import facts, reproduction
from recommender.lineage.reproduction import Reproduction
from recommender.locations import REPORT, join
from recommender.manifest import Manifest

_log = logging.getLogger(__name__)
CANDIDATE_FOLDER, REPORT_FOLDER, RECORD = "candidate", "report", "reproduction.json"
_OWN = frozenset({CANDIDATE_FOLDER, REPORT_FOLDER, RECORD})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    return cli.exit_code(lambda: _run(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what has to be known: the version, where to write, and what counts as equal."""
    add = parser.add_argument
    add("--version", required=True, type=cli.location, metavar="URI", help="published version")
    add("--output", required=True, type=cli.location, metavar="URI", help="a place of its own")
    add(
        "--dataset",
        type=cli.location,
        metavar="URI",
        help="the dataset, if it is no longer where the version was trained",
    )
    add(
        "--tolerance",
        type=reproduction.tolerance,
        default=reproduction.TOLERANCE,
        metavar="SHARE",
        help="largest relative difference of a metric that is still equal (default: %(default)s)",
    )


def _run(arguments: argparse.Namespace) -> None:
    found = reproduce(arguments.version, arguments.output, arguments.dataset, arguments.tolerance)
    for line in found.lines():
        print(line)
    if found.answer == "different":
        message = (
            f"{arguments.version} could not be reproduced: {found.reason}; the lines above name "
            "what differs"
        )
        raise NotReproducedError(message)


def reproduce(version: str, output: str, dataset: str | None, tolerance: float) -> Reproduction:
    """Train and measure a version again, write what came of it, and compare.

    Args:
        version: directory of the published version.
        output: where ``candidate/``, ``report/`` and ``reproduction.json`` are written; what an
            earlier run left there is deleted.
        dataset: where the dataset is; None: where the version was trained.
        tolerance: largest relative difference of a metric that is still equal.

    Raises:
        ManifestError: the version is damaged, or its manifest does not say how it was made.
        RecommenderError: the dataset is gone, or a job failed; the message says why.
    """
    sealed = manifest.read(version, "version")
    dataset = dataset or facts.require(sealed.about, "dataset.uri", str)
    require_apart([output], [version, dataset])
    # Before anything else can fail: a failed run leaves no older answer to be trusted.
    clear(output, lambda name: name in _OWN)
    manifest.verify(version, "version")
    reproduction.require_comparable(sealed)
    candidate, report = join(output, CANDIDATE_FOLDER), join(output, REPORT_FOLDER)
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        config = Path(folder) / "recommender.yaml"
        config.write_text(yaml.safe_dump(settings(sealed)))
        common = ["--config", str(config), "--dataset", dataset]
        champion = _champion(sealed)
        warm = ["--champion", champion] if champion else []
        _again("training", train.main([*common, "--output", candidate, *warm]))
        measure = [*common, "--candidate", candidate, "--output", report]
        _again("measuring", evaluate.main(measure))
    found = reproduction.compare(
        sealed,
        manifest.read(candidate, "candidate"),
        storage.read_json(join(report, REPORT)),
        tolerance,
    )
    storage.write_json(join(output, RECORD), {"version": version, **found.to_json()})
    return found


def _again(what: str, code: int) -> None:
    if code:
        message = f"{what} again failed with exit code {code}: the line above says why"
        raise NotReproducedError(message)


def settings(version: Manifest) -> dict[str, Any]:
    """Return the configuration that makes a version again: its setting, fitted without a search.

    Raises:
        ManifestError: the version's manifest lacks a fact of it.
    """
    about = version.about
    made_with = dict(facts.require(about, "settings", dict))
    setting = facts.require(about, "setting", dict)
    made_with["search"] = None
    if layout.is_sharded(version.files):
        made_with["distributed"] = setting
    else:
        # The threads that were used, not "all there are": another machine has another number.
        made_with |= {"als": setting, "threads": facts.require(about, "threads", int)}
    if _champion(version):
        made_with["warm_iterations"] = facts.require(about, "setting.iterations", int)
    name = facts.require(about, "recommender", str)
    return {
        "name": name,
        "description": f"A version of {name}, made again.",
        "dataset": name,
        "train": made_with,
        "evaluate": facts.require(about, "lineage.settings", dict),
        # No gate runs here. Its default names models that the version may not have been compared
        # with; popularity is always there.
        "gate": {"baselines": [POPULARITY]},
    }


def _champion(version: Manifest) -> str | None:
    """Return the champion that the last fit went on from; None if it began anew.

    A version of before that was noted began anew, too.

    Raises:
        ManifestError: it went on from one that is not named.
    """
    if not facts.find(version.about, "training.warm_start", object):
        return None
    return facts.require(version.about, "training.warm_start.champion", str)


if __name__ == "__main__":
    sys.exit(main())

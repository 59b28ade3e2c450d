"""Train and measure a published version again from its manifest alone, and compare.

Says bit-equal, metric-equal (within --tolerance) or different. The setting that was chosen is fitted
again, from the same start and with the same seed and threads; the search that chose it is not repeated,
because it is bounded by time. A version of engine spark is fitted with Spark on this machine; its
shards have other names each time, so metric-equal is the best it gets. Writes candidate/, report/ and
reproduction.json below --output. Exit code 0 for the first two answers, 3 for the third.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from recommender import manifest, storage
from recommender.distributed import layout
from recommender.errors import ManifestError, NotReproducedError
from recommender.jobs import cli, evaluate, train
from recommender.jobs.outputs import require_apart
from recommender.lineage import reproduction
from recommender.lineage.reproduction import Reproduction
from recommender.locations import MANIFEST, REPORT, join
from recommender.manifest import Manifest

_log = logging.getLogger(__name__)
RECORD = "reproduction.json"


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
        type=float,
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
            f"{arguments.version} could not be reproduced: metrics differ by {found.worst:.2%}, "
            f"{arguments.tolerance:.2%} is allowed; the lines above name what differs"
        )
        raise NotReproducedError(message)


def reproduce(version: str, output: str, dataset: str | None, tolerance: float) -> Reproduction:
    """Train and measure a version again, write what came of it, and compare.

    Args:
        version: directory of the published version.
        output: where ``candidate/``, ``report/`` and ``reproduction.json`` are written.
        dataset: where the dataset is; None: where the version was trained.
        tolerance: largest relative difference of a metric that is still equal.

    Raises:
        ManifestError: the version is damaged, or its manifest does not say how it was made.
        RecommenderError: the dataset is gone, or a job failed; the message says why.
    """
    sealed = manifest.verify(version, "version")
    dataset = dataset or str(_fact(sealed, "dataset")["uri"])
    require_apart([output], [version, dataset])
    candidate, report = join(output, "candidate"), join(output, "report")
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        config = Path(folder) / "recommender.yaml"
        config.write_text(yaml.safe_dump(settings(sealed)))
        common = ["--config", str(config), "--dataset", dataset]
        start = (sealed.about.get("training") or {}).get("warm_start")
        warm = ["--champion", str(start["champion"])] if start else []
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
    """Return the configuration that makes a version again: its setting, fitted without a search."""
    about = version.about
    made_with, setting = dict(_fact(version, "settings")), dict(_fact(version, "setting"))
    made_with["search"] = None
    if layout.is_sharded(version.files):
        made_with["distributed"] = setting
    else:
        # The threads that were used, not "all there are": another machine has another number.
        made_with |= {"als": setting, "threads": about["threads"]}
    if (about.get("training") or {}).get("warm_start"):
        made_with["warm_iterations"] = setting["iterations"]
    name = str(about["recommender"])
    return {
        "name": name,
        "description": f"A version of {name}, made again.",
        "dataset": name,
        "train": made_with,
        "evaluate": dict(_fact(version, "lineage")["settings"]),
    }


def _fact(version: Manifest, name: str) -> Mapping[str, Any]:
    found = version.about.get(name)
    if not isinstance(found, Mapping):
        message = (
            f"expected {name} in the version's {MANIFEST}, found none: it cannot be made again"
        )
        raise ManifestError(message)
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Load a candidate as a reader would, ask it for a fixed set of users, and measure how it serves.

Runs after evaluate, in a process of its own. Writes verification.json: whether the loaded model
gives the lists that were measured, latency, load time, peak memory, the limits, and the verdict.
A damaged candidate fails the job; limits that are not met are for the gate to refuse.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from recommender import manifest, storage
from recommender.artifact import CANDIDATE
from recommender.config import Recommender
from recommender.errors import BadDataError
from recommender.jobs import cli
from recommender.jobs.outputs import clear, require_apart
from recommender.locations import MANIFEST, PROBES, REPORT, VERIFICATION, join
from recommender.process import one_blas_thread, peak_memory_mb
from recommender.serving import load_model, verification

_log = logging.getLogger("recommender.jobs.verify")
KIND = "verification"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; see ``--help``."""
    parser = cli.arg_parser("verify", __doc__ or "")
    add = parser.add_argument
    add("--candidate", required=True, type=cli.location, metavar="URI", help="what train wrote")
    add("--report", required=True, type=cli.location, metavar="URI", help="what evaluate wrote")
    add("--output", required=True, type=cli.location, metavar="URI", help="verdict; replaced")
    return cli.run(_run, parser, argv)


def _run(arguments: argparse.Namespace, recommender: Recommender) -> None:
    require_apart([arguments.output], [arguments.candidate, arguments.report])
    clear(arguments.output, lambda name: name in {VERIFICATION, MANIFEST})
    manifest.verify(arguments.report, "report")
    digest = storage.sha256(join(arguments.candidate, MANIFEST))
    _check_measured(storage.read_json(join(arguments.report, REPORT)), digest, arguments)
    probes = storage.read_json(join(arguments.report, PROBES))
    with one_blas_thread():
        began = time.perf_counter()
        model = load_model(arguments.candidate, CANDIDATE, "candidate", sha256=digest)
        loaded = time.perf_counter() - began
        _log.info(f"loaded {model.users:,} users and {model.items:,} items in {loaded:.2f} s")
        measured = verification.ask(model, probes, loaded, peak_memory_mb)
    against = verification.findings(measured, recommender.serve)
    document = {
        "format": 1,
        "candidate_sha256": digest,
        **asdict(measured),
        "limits": recommender.serve.model_dump(mode="json"),
        "findings": against,
        "passed": not against,
    }
    storage.write_json(join(arguments.output, VERIFICATION), document)
    manifest.seal(arguments.output, KIND, {"recommender": recommender.name})
    _log.info(
        f"{measured.users} users asked, {measured.differing} lists differ; p50 {measured.p50_ms} ms, "
        f"p99 {measured.p99_ms} ms, peak {measured.memory_mb:,.0f} MB"
    )
    for sentence in against:
        _log.warning(sentence)


def _check_measured(report: dict[str, Any], digest: str, arguments: argparse.Namespace) -> None:
    """Refuse a report about another candidate: its lists would be another model's."""
    measured = report["lineage"]["candidate"]["sha256"]
    if measured != digest:
        message = (
            f"expected a report about {arguments.candidate} (manifest SHA-256 {digest}), found one "
            f"about {measured}: evaluate this candidate first"
        )
        raise BadDataError(message)


if __name__ == "__main__":
    sys.exit(main())

"""Run one job: ``python -m recommender.jobs {preprocess,train,evaluate,verify,recommend,reproduce} ...``.

spark-submit is given a copy of this very file beside a zip of the package, so it imports by
absolute name only and assumes nothing about where it lies.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

_TERMINATED = 128 + signal.SIGTERM  # what a shell says of a process that the signal ended
JOBS = ("preprocess", "train", "evaluate", "verify", "recommend", "reproduce")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job named by the first argument with the rest; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    usage = f"usage: python -m recommender.jobs {{{','.join(JOBS)}}} [arguments | --help]"
    if arguments[:1] in (["-h"], ["--help"]):
        print(usage)
        return 0
    if not arguments or arguments[0] not in JOBS:
        found = repr(arguments[0]) if arguments else "nothing"
        print(usage, file=sys.stderr)
        print(
            f"error: expected one of {', '.join(JOBS)} as first argument, found {found}",
            file=sys.stderr,
        )
        return 2
    # EMR cancels a step so: leave by the exits that remove temporary files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    # Imported late: the nodes that preprocess have no implicit, those that train need no Spark.
    job = importlib.import_module(f"recommender.jobs.{arguments[0]}")
    return int(job.main(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main())

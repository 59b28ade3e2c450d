"""Fetch what a failed step wrote: EMR puts logs into S3 minutes late, so with patience."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable

from recommender import storage
from recommender.errors import NotFoundError
from recommender.locations import join

LINES = 40
# EMR ships step logs every 5 minutes and at termination, which for an ended cluster is mostly done.
PATIENCE_SECONDS = 360.0
_PAUSE_SECONDS = 10.0


# In client mode spark-submit merges all that Python prints into its own stdout; its stderr is the
# JVM's. A failure can be in either.
STREAMS = ("stderr", "stdout")


def step_log(logs: str, cluster_id: str, step_id: str, stream: str) -> str:
    """Return where EMR puts what a step wrote."""
    return join(logs, cluster_id, "steps", step_id, f"{stream}.gz")


def tail(
    uri: str,
    patience: float = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Return the last lines of a gzipped log, or a sentence that says where it will be."""
    deadline = clock() + patience
    while True:
        try:
            text = gzip.decompress(storage.read(uri).data).decode(errors="replace")
            return "\n".join(text.rstrip().splitlines()[-LINES:])
        except NotFoundError:
            if clock() >= deadline:
                return f"(no log at {uri} after {patience:.0f} s; EMR may still deliver it)"
            pause(min(_PAUSE_SECONDS, max(0.0, deadline - clock())))
        except (OSError, EOFError, zlib.error) as error:
            return f"(the log at {uri} cannot be read: {error})"

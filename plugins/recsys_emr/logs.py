"""Fetch what a failed cluster wrote: EMR puts logs into S3 minutes late, so with patience."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recommender import storage
from recommender.errors import NotFoundError, RecommenderError
from recommender.locations import join

LINES = 40
# EMR ships step logs every 5 minutes and at termination, which for an ended cluster is mostly done.
PATIENCE_SECONDS = 360.0
_PAUSE_SECONDS = 10.0

# In client mode spark-submit merges all that Python prints into its own stdout; its stderr is the
# JVM's. A failure can be in either.
STREAMS = ("stderr", "stdout")


@dataclass(frozen=True)
class Log:
    """Hold one log, or the sentence that says why there is none.

    Attributes:
        uri: where EMR puts it.
        text: all of it; empty if there is none.
        note: why there is none; empty if there is one.
    """

    uri: str
    text: str
    note: str = ""

    @property
    def tail(self) -> str:
        """Return the last lines, or why there are none."""
        return self.note or "\n".join(self.text.rstrip().splitlines()[-LINES:])


def step_log(logs: str, cluster_id: str, step_id: str, stream: str) -> str:
    """Return where EMR puts what a step wrote."""
    return join(logs, cluster_id, "steps", step_id, f"{stream}.gz")


def bootstrap_logs(logs: str, cluster_id: str) -> list[str]:
    """List what setting up the nodes has written so far: bootstrap actions, then applications.

    EMR keeps it below ``node/<instance>/bootstrap-actions/<number>/`` and
    ``node/<instance>/provision-node/``, as controller.gz, stderr.gz and stdout.gz.
    """
    below = join(logs, cluster_id, "node")
    return [
        file.uri
        for file in storage.list_files(below)
        if any(part in file.uri for part in ("/bootstrap-actions/", "/provision-node/"))
        and file.uri.endswith(("stderr.gz", "stdout.gz"))
    ]


def fetch(
    uris: Sequence[str],
    patience: float = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[Log]:
    """Read gzipped logs, waiting for those that are late; one patience for all together."""
    deadline = clock() + patience
    return [_fetch(uri, patience, deadline, clock, pause) for uri in uris]


def _fetch(
    uri: str,
    patience: float,
    deadline: float,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> Log:
    while True:
        try:
            text = gzip.decompress(storage.read(uri).data).decode(errors="replace")
            return Log(uri, text, "" if text.strip() else f"({uri} is empty)")
        except NotFoundError:
            if clock() >= deadline:
                note = f"(no log at {uri} after {patience:.0f} s; EMR may still deliver it)"
                return Log(uri, "", note)
            pause(min(_PAUSE_SECONDS, max(0.0, deadline - clock())))
        except (OSError, EOFError, zlib.error, RecommenderError) as error:
            return Log(uri, "", f"(the log at {uri} cannot be read: {error})")

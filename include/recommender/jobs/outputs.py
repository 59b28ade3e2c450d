"""Make room for a job's output, and delete nothing that the job has not written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from recommender import storage
from recommender.errors import ConfigError

logger = logging.getLogger(__name__)


def require_apart(outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Refuse an output that holds, or lies in, any other directory: its content is replaced.

    Raises:
        ConfigError: one lies at or below another.
    """
    for number, output in enumerate(outputs):
        for uri in (*outputs[number + 1 :], *inputs):
            one, other = sorted((output, uri), key=len)
            if f"{other}/".startswith(f"{one}/"):
                message = (
                    f"expected inputs and outputs to lie apart, found {other} at or below {one}"
                )
                raise ConfigError(message)


def clear(uri: str, is_own: Callable[[str], bool]) -> None:
    """Delete what an earlier run left; refuse a directory that holds anything else.

    Args:
        uri: the directory to empty.
        is_own: tells the names directly below it that this job writes.

    Raises:
        ConfigError: there is a name that the job never writes; nothing was deleted.
    """
    names = [n for n in storage.list_children(uri) if not n.startswith(("_", "."))]
    foreign = [name for name in names if not is_own(name)]
    if foreign:
        message = (
            f"{uri} is to be replaced but holds files that this job never writes: "
            f"{', '.join(foreign[:5])}. Give a directory of its own."
        )
        raise ConfigError(message)
    if storage.delete_prefix(uri):
        logger.info("cleared what an earlier run left at %s", uri)

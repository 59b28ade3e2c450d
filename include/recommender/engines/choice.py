"""Choose the engine by the size of the input, and again by what was read, and say why."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from recommender.config import Preprocess
from recommender.engines import Engine, at_work, current
from recommender.errors import StorageError
from recommender.sources.lines import Parsed

if TYPE_CHECKING:
    from recommender.engines.spark_engine import SparkEngine

logger = logging.getLogger(__name__)

_GIB = 1 << 30
# gzip shrinks JSON of this kind five- to sixteen-fold; ten keeps the guess on the safe side.
_GZIP_RATIO = 10
# Files that are handed over, and what DuckDB spills with next to no memory: 3.5 times, measured.
_ROOM = 4


@dataclass(frozen=True)
class Choice:
    """Say which engine works, and why.

    Attributes:
        engine: ``spark`` or ``duckdb``.
        reason: a clause for the log and the profile.
        text_bytes: size of the raw text, estimated where it is gzip.
    """

    engine: str
    reason: str
    text_bytes: int


def choose(settings: Preprocess, plain_bytes: int, gzip_bytes: int) -> Choice:
    """Take the engine that is set, or by the size of the raw text."""
    text = plain_bytes + gzip_bytes * _GZIP_RATIO
    if settings.engine != "auto":
        return Choice(settings.engine, f"preprocess.engine is {settings.engine}", text)
    limit = settings.duckdb_up_to_gib
    fits = text <= limit * _GIB
    size = f"about {text / _GIB:.2f} GiB of text"
    how = "within" if fits else "more than"
    reason = f"{size}, {how} the {limit:g} GiB of preprocess.duckdb_up_to_gib"
    return Choice("duckdb" if fits else "spark", reason, text)


def choose_again(
    settings: Preprocess, choice: Choice, lines: int, size: int, free_bytes: int
) -> Choice:
    """Take the engine for what Spark has read: it is a twentieth of the text, and may fit one machine.

    Args:
        settings: the configuration's section ``preprocess``.
        choice: what has read.
        lines: how many it has read.
        size: bytes of the files that they are in.
        free_bytes: room on this machine's disk.
    """
    limit = settings.duckdb_up_to_lines
    how = "within" if lines <= limit else "more than"
    reason = f"{lines:,} lines were read, {how} the {limit:,} of preprocess.duckdb_up_to_lines"
    if lines > limit:
        return replace(choice, reason=reason)
    if size * _ROOM > free_bytes:
        reason += (
            f", but {size * _ROOM / _GIB:.1f} GiB of disk would be needed here and "
            f"{free_bytes / _GIB:.1f} are free in {tempfile.gettempdir()}"
        )
        return replace(choice, reason=reason)
    return replace(choice, engine="duckdb", reason=reason)


@contextmanager
def start(choice: Choice) -> Iterator[Engine]:
    """Start the engine and put it to work; for DuckDB, Spark is not even imported."""
    if choice.engine == "duckdb":
        from recommender.engines import duckdb_engine

        with duckdb_engine.engine() as made, at_work(made) as engine:
            yield engine
        return
    from recommender.engines import spark_session
    from recommender.engines.spark_engine import SparkEngine

    with spark_session.session("preprocess") as session:
        spark_session.size_shuffles(session, choice.text_bytes)
        with closing(SparkEngine(session)) as spark, at_work(spark) as engine:
            yield engine


@contextmanager
def go_on(settings: Preprocess, choice: Choice, parsed: Parsed) -> Iterator[tuple[Choice, Parsed]]:
    """Choose the engine for the rest and put it to work; what Spark has read is handed over to DuckDB.

    Spark stays up meanwhile: EMR takes a cluster without an application for idle.

    Args:
        settings: the configuration's section ``preprocess``.
        choice: what has read.
        parsed: what it has read.
    """
    if choice.engine == "duckdb" or settings.engine != "auto":
        yield choice, parsed
        return
    spark = cast("SparkEngine", current())
    lines, size = spark.settled_size(parsed.first)
    then = choose_again(
        settings, choice, lines, size, shutil.disk_usage(tempfile.gettempdir()).free
    )
    logger.info("engine %s for the rest: %s", then.engine, then.reason)
    if then.engine == choice.engine:
        yield then, parsed
        return
    from recommender.engines import duckdb_engine

    with duckdb_engine.engine() as made, at_work(made):
        folder = made.folder()
        spark.hand_over(parsed.first, folder)
        taken = made.take(folder)
        if (found := taken.count()) != lines:
            message = (
                f"expected the {lines:,} lines that Spark has read, found {found:,} in {folder}"
            )
            raise StorageError(message)
        yield then, Parsed(taken, None)

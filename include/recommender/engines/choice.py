"""Choose the engine by the size of the input, and say why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from recommender.config import Preprocess
from recommender.engines import Engine, at_work

_GIB = 1 << 30
# gzip shrinks JSON of this kind five- to sixteen-fold; ten keeps the guess on the safe side.
_GZIP_RATIO = 10


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


@contextmanager
def start(choice: Choice) -> Iterator[Engine]:
    """Start the engine and put it to work; the other one is not even imported."""
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

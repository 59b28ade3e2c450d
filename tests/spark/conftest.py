"""One Spark session for all tests that need one, and the writers of their raw data."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from recommender.engines import Engine, at_work, duckdb_engine, spark_session
from recommender.engines.spark_engine import SparkEngine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Give a session on two cores, with the product's own settings."""
    before = os.environ.get("PYSPARK_SUBMIT_ARGS")
    os.environ["PYSPARK_SUBMIT_ARGS"] = "--master local[2] pyspark-shell"
    try:
        with spark_session.session("tests") as session:
            yield session
    finally:
        os.environ.pop("PYSPARK_SUBMIT_ARGS")
        if before is not None:
            os.environ["PYSPARK_SUBMIT_ARGS"] = before


@pytest.fixture(params=["spark", "duckdb"])
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(engine_name: str, spark: SparkSession) -> Iterator[Engine]:
    """Put each engine to work in turn."""
    if engine_name == "spark":
        with at_work(SparkEngine(spark)) as at:
            yield at
        return
    with duckdb_engine.engine() as made, at_work(made) as at:
        yield at


Writer = Callable[..., Path]


@pytest.fixture
def write_lines() -> Writer:
    """Return a writer of raw files: records become JSON, text stays as it is."""

    def write(path: Path, records: Sequence[Any], newline: str = "\n") -> Path:
        lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
        data = "".join(f"{line}{newline}" for line in lines).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


@pytest.fixture
def write_config(tmp_path: Path, engine_name: str) -> Callable[..., str]:
    """Return a writer of a recommender's YAML; keywords are settings of ``preprocess``."""

    def write(**preprocess: Any) -> str:
        path = tmp_path / "config.yaml"
        preprocess.setdefault("engine", engine_name)
        document = {"name": "t", "description": "d", "dataset": "t", "preprocess": preprocess}
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write

"""The arrows between the rooms: dags -> plugins -> include, never back."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SPARE_OF_BOTO3 = {"storage/s3.py"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def test_the_product_never_imports_airflow_or_the_rooms_above(root: Path) -> None:
    files = sorted((root / "include" / "recommender").rglob("*.py"))
    assert files
    for path in files:
        assert not tops(path) & {"airflow", "recsys_emr", "localaws", "demo"}, path


def test_only_the_storage_talks_to_aws(root: Path) -> None:
    for path in sorted((root / "include" / "recommender").rglob("*.py")):
        if tops(path) & {"boto3", "botocore"}:
            assert path.relative_to(root / "include" / "recommender").as_posix() in SPARE_OF_BOTO3


def test_plugins_know_nothing_of_the_embedded_aws(root: Path) -> None:
    for path in sorted((root / "plugins").rglob("*.py")):
        assert not tops(path) & {"localaws", "demo", "moto"}, path


@pytest.mark.parametrize("room", ["gate", "checks"])
def test_what_decides_needs_the_standard_library_only(root: Path, room: str) -> None:
    files = sorted((root / "include" / "recommender" / room).rglob("*.py"))
    assert files
    for path in files:
        foreign = {
            name
            for name in imports(path)
            if name.partition(".")[0] not in sys.stdlib_module_names
            and not name.startswith(f"recommender.{room}")
        }
        assert not foreign, path


@pytest.mark.parametrize("module", ["recommender.gate", "recommender.registry"])
def test_airflow_workers_load_the_gate_and_registry_without_spark_or_numpy(
    root: Path, module: str
) -> None:
    program = (
        f"import sys, {module}\n"
        "heavy = {'pyspark', 'numpy', 'pandas', 'pyarrow', 'implicit', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {"PYTHONPATH": str(root / "include")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)

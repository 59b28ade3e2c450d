"""What a model's lineage says about the code and the libraries that made it."""

from __future__ import annotations

import platform
from importlib import metadata

import numpy as np
import pytest

from recommender.lineage import provenance


def test_the_staged_codes_hash_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(provenance.CODE_HASH, "0123456789abcdef")
    found = provenance.describe()
    assert found["code_hash"] == "0123456789abcdef"
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["machine"] == platform.machine()


def test_a_job_started_by_hand_tells_the_hash_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(provenance.CODE_HASH, raising=False)
    found = provenance.describe()["code_hash"]
    assert found.startswith("package:")
    assert len(found) == len("package:") + 16
    assert provenance.describe()["code_hash"] == found


def test_sparks_version_is_told_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def without_spark(name: str) -> str:
        if name == "pyspark":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    assert provenance.describe()["versions"]["pyspark"] == installed("pyspark")
    monkeypatch.setattr(metadata, "version", without_spark)
    assert "pyspark" not in provenance.describe()["versions"]


def test_hashes_of_one_kind_can_be_compared() -> None:
    assert provenance.comparable("01", "fe")
    assert provenance.comparable("package:01", "package:fe")
    assert not provenance.comparable("package:01", "01")
    assert not provenance.comparable("01", "package:01")

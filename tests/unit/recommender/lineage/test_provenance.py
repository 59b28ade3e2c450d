"""What a model's lineage says about the code and the libraries that made it."""

from __future__ import annotations

import platform

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

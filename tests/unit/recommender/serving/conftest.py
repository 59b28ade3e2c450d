"""The store on a disk and on S3."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store on the disk with one version, which is champion."""
    made = Store(str(tmp_path / "models"))
    made.publish("first")
    made.promote("first")
    return made


@pytest.fixture
def store_on_s3(s3: str) -> Store:
    """Return the same on S3."""
    made = Store(f"{s3}/models")
    made.publish("first")
    made.promote("first")
    return made

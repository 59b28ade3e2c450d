"""The store on a disk and on S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from model_store import Store
from moto import mock_aws

from recommender import storage


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an empty bucket in memory."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    storage.s3_client.cache_clear()
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="store")
        yield "s3://store"
    storage.s3_client.cache_clear()


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

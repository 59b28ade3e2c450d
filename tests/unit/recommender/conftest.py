"""What several of the product's tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from recommender import storage


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an empty bucket in memory."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    storage.s3_client.cache_clear()
    with mock_aws():
        storage.s3_client().create_bucket(Bucket="store")
        yield "s3://store"
    storage.s3_client.cache_clear()

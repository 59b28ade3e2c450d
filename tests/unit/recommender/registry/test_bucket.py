"""The registry on a bucket as operators set it up: versioned, with a key, and with its policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from registry_store import NAME, champion, places, promote, request

from recommender import registry, storage
from recommender.errors import ConfigError
from recommender.registry import changes, pointer


def test_a_versioned_bucket_with_a_key_serves_as_any_other(s3: str) -> None:
    client = boto3.client("s3")
    client.put_bucket_versioning(Bucket="store", VersioningConfiguration={"Status": "Enabled"})
    rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    client.put_bucket_encryption(
        Bucket="store", ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    locations = places(s3)
    first, second = promote(locations, "2017-11-30", "a"), promote(locations, "2017-12-31", "b")
    changes.roll_back(locations, request())
    assert champion(locations).version == first
    changes.promote(locations, request(), second)
    records = pointer.history(locations, NAME)
    assert [record.version for record in records] == [first, second, first, second]


def test_a_bucket_that_is_not_there_is_no_store_without_a_champion(s3: str) -> None:
    assert registry.read_champion(places(s3), NAME) is None
    with pytest.raises(ConfigError, match="expected bucket misspelt for s3://misspelt/"):
        registry.read_champion(places("s3://misspelt"), NAME)


def test_every_write_of_a_pointer_keeps_the_policy_of_the_documentation(s3: str) -> None:
    """Moto evaluates no bucket policies: here the documented statement is held against the requests."""
    text = (Path(__file__).parents[4] / "docs" / "serving.md").read_text()
    (found,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    statements = json.loads(found)["Statement"]
    conditional = {one["Sid"]: one for one in statements}["OnlyConditionalWrites"]
    asked = set(conditional["Condition"]["Null"])
    assert asked == {"s3:if-match", "s3:if-none-match"}
    writes: list[dict[str, Any]] = []
    client = storage.s3_client()

    def note(params: dict[str, Any], **_: Any) -> None:
        writes.append(params)

    client.meta.events.register("provide-client-params.s3.PutObject", note)
    locations = places(s3)
    promote(locations, "2017-11-30", "a")
    promote(locations, "2017-12-31", "b")
    changes.roll_back(locations, request())
    to_pointer = [write for write in writes if write["Key"].endswith("/champion.json")]
    assert len(to_pointer) == 3
    assert all("IfMatch" in write or "IfNoneMatch" in write for write in to_pointer)

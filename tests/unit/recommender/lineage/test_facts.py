"""A fact of a manifest is there and of its type, or is named."""

from __future__ import annotations

import pytest

from recommender.errors import ManifestError
from recommender.lineage import facts

ABOUT = {"threads": 2, "dataset": {"uri": "s3://lake/d"}, "training": None}


def test_a_fact_is_found_by_its_path() -> None:
    assert facts.require(ABOUT, "threads", int) == 2
    assert facts.require(ABOUT, "dataset.uri", str) == "s3://lake/d"
    assert facts.find(ABOUT, "dataset", dict) == {"uri": "s3://lake/d"}


@pytest.mark.parametrize("path", ["seed", "training.warm_start", "threads.of", "dataset.uri.of"])
def test_what_is_not_there_is_named(path: str) -> None:
    assert facts.find(ABOUT, path, object) is None
    with pytest.raises(ManifestError, match=f"expected {path} in the version's .*, found none: it"):
        facts.require(ABOUT, path, str)


def test_a_fact_of_another_type_is_shown() -> None:
    assert facts.find(ABOUT, "threads", str) is None
    with pytest.raises(ManifestError, match=r"expected threads .* of type str, found 2: .* anew"):
        facts.require(ABOUT, "threads", str)

"""Describe Amazon reviews as released in 2018 (Ni): a verified purchase counts more.

``vote`` is text with thousands separators and is not read; ``overall`` may be 0.0 and does not
matter, because a review is an interaction whatever its rating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recommender.config import Preprocess
from recommender.engines import F
from recommender.sources.base import Confidence, Source
from recommender.sources.parsing import is_true

if TYPE_CHECKING:
    from pyspark.sql import Column


def verified(key: str) -> Callable[[Callable[[str], Column], Preprocess], Confidence]:
    """Return a rule of confidence: the setting's for a verified purchase, 1 for another review."""

    def confidence(text: Callable[[str], Column], settings: Preprocess) -> Confidence:
        strong = F.when(is_true(text(key)), F.lit(settings.verified_confidence))
        return Confidence(strong.otherwise(F.lit(1.0)).cast("float"))

    return confidence


AMAZON_2018 = Source(
    name="amazon_2018",
    user="reviewerID",
    item="asin",
    time="unixReviewTime",
    marks=("verified",),
    extra=("verified",),
    digits=10,
    confidence=verified("verified"),
)

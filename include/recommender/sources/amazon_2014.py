"""Describe Amazon reviews as released in 2014 (McAuley): every review counts alike."""

from __future__ import annotations

from recommender.engines import F
from recommender.sources.base import Confidence, Source

AMAZON_2014 = Source(
    name="amazon_2014",
    user="reviewerID",
    item="asin",
    time="unixReviewTime",
    foreign=("verified",),
    digits=10,
    confidence=lambda _text, _settings: Confidence(F.lit(1.0).cast("float")),
)

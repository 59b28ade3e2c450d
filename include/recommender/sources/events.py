"""Describe the generic format: purchases, clicks, plays; confidence is an optional weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recommender import columns as c
from recommender.config import Preprocess
from recommender.engines import F
from recommender.sources.base import Confidence, Rule, Source
from recommender.sources.parsing import float32, number

if TYPE_CHECKING:
    from pyspark.sql import Column


def _weight(text: Callable[[str], Column], _settings: Preprocess) -> Confidence:
    """Read the weight; an absent one is 1, and one that float32 cannot hold as positive is bad."""
    raw = text("weight")
    value = F.when(raw.isNull(), F.lit(1.0).cast("float")).otherwise(float32(number(raw)))
    weight = F.col(c.CONFIDENCE)
    rules = (
        Rule("weight_unreadable", weight.isNull()),
        Rule("weight_not_positive", weight <= 0),
        Rule("weight_not_finite", weight == float("inf")),
    )
    return Confidence(value, rules)


EVENTS = Source(
    name="events",
    user="user_id",
    item="item_id",
    time="timestamp",
    extra=("weight",),
    confidence=_weight,
)

"""Describe Amazon reviews as released in 2023 (Hou): milliseconds, and variants below a parent.

The item is ``parent_asin``: ``asin`` is one colour or size of it.
"""

from __future__ import annotations

from recommender.sources.amazon_2018 import verified
from recommender.sources.base import Source

AMAZON_2023 = Source(
    name="amazon_2023",
    user="user_id",
    item="parent_asin",
    time="timestamp",
    foreign=("item_id",),
    extra=("verified_purchase",),
    digits=10,
    confidence=verified("verified_purchase"),
)

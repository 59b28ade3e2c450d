"""The model store: immutable versions, one pointer, and every decision. No Spark, no NumPy."""

from recommender.registry.publishing import (
    Published,
    load_champion,
    load_version,
    publish,
    read_champion,
    record_decision,
)

__all__ = [
    "Published",
    "load_champion",
    "load_version",
    "publish",
    "read_champion",
    "record_decision",
]

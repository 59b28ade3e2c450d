"""Read raw interactions: one description per format, one reader for all of them."""

from __future__ import annotations

from recommender.sources.amazon_2014 import AMAZON_2014
from recommender.sources.amazon_2018 import AMAZON_2018
from recommender.sources.amazon_2023 import AMAZON_2023
from recommender.sources.base import Source
from recommender.sources.events import EVENTS

SOURCES: dict[str, Source] = {
    source.name: source for source in (AMAZON_2014, AMAZON_2018, AMAZON_2023, EVENTS)
}

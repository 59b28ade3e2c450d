"""Serve a published model from a process of your own: no Spark, no Airflow, nothing that trains.

    from recommender import load_champion

    champion = load_champion("s3://example-recsys-models", "complete_journey")
    for ranked in champion.recommend(["some user", "another"], k=20):
        print(ranked.of, ranked.items)

See docs/serving.md.
"""

from recommender.serving.lists import Interaction, RankedList, Source
from recommender.serving.load import load_model, load_version
from recommender.serving.model import ServedModel
from recommender.serving.reader import Champion, load_champion

__all__ = [
    "Champion",
    "Interaction",
    "RankedList",
    "ServedModel",
    "Source",
    "load_champion",
    "load_model",
    "load_version",
]

"""Hold ALS: the model that is published, and the engines that fit it."""

from recommender.models.als.engine import Factors
from recommender.models.als.model import Als

__all__ = ["Als", "Factors"]

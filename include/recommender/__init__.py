"""Retrain implicit-feedback recommenders: from raw reviews to a gated, published model.

Never imports airflow. Data flows one way: snapshot -> dataset -> candidate -> report ->
decision -> version.

``load_champion`` serves what was published; it is imported when it is asked for, because Airflow
imports this package without numpy.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recommender.serving import Interaction, RankedList, load_champion, load_version

__all__ = ["Interaction", "RankedList", "load_champion", "load_version"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in __all__:
        from recommender import serving

        return getattr(serving, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

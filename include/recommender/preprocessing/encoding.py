"""Give users and items dense integer ids, without collecting any of them to the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommender import columns as c
from recommender import engines
from recommender.engines import F
from recommender.errors import BadDataError
from recommender.schemas import ITEMS, USERS, WINDOW, conform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Ids:
    """Hold an id table and its length.

    Attributes:
        table: (index int32, id string), sorted by index, kept.
        count: number of ids; the indices are 0 to count - 1.
    """

    table: DataFrame
    count: int


def user_ids(pairs: DataFrame) -> Ids:
    """Number the users of the pairs in binary order of their ids."""
    table, count = _number(pairs, c.USER_ID, c.USER)
    return Ids(conform(table, USERS), count)


def item_ids(pairs: DataFrame) -> Ids:
    """Number the items of the pairs in binary order of their ids."""
    table, count = _number(pairs, c.ITEM_ID, c.ITEM)
    return Ids(conform(table, ITEMS), count)


def _number(pairs: DataFrame, id_column: str, index: str) -> tuple[DataFrame, int]:
    """Number distinct ids: by the ids alone, not by the order of files or by partitions."""
    table, count = engines.current().number(pairs.select(id_column).distinct(), id_column, index)
    if count > _INT32_MAX:
        message = f"expected at most {_INT32_MAX} distinct {id_column}, found {count}"
        raise BadDataError(message)
    return table, count


def encode(windowed: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    """Replace ids by indices; a row of an unknown user or item keeps the id that is unknown.

    Args:
        windowed: window, user_id, item_id, timestamp, confidence.
        users: (user, user_id).
        items: (item, item_id).

    Returns:
        window, user, item, confidence, timestamp, user_id, item_id; ``user`` (``item``) is null
        where the id is unknown, ``user_id`` (``item_id``) where it is known.
    """
    joined = windowed.join(users, c.USER_ID, "left").join(items, c.ITEM_ID, "left")
    return joined.select(
        WINDOW,
        c.USER,
        c.ITEM,
        c.CONFIDENCE,
        c.TIMESTAMP,
        F.when(F.col(c.USER).isNull(), F.col(c.USER_ID)).alias(c.USER_ID),
        F.when(F.col(c.ITEM).isNull(), F.col(c.ITEM_ID)).alias(c.ITEM_ID),
    )


def known(encoded: DataFrame) -> DataFrame:
    """Keep the rows whose user and item both have an index."""
    return encoded.filter(F.col(c.USER).isNotNull() & F.col(c.ITEM).isNotNull())


def cold(encoded: DataFrame) -> DataFrame:
    """Keep the rows whose user or item has no index."""
    return encoded.filter(F.col(c.USER).isNull() | F.col(c.ITEM).isNull())

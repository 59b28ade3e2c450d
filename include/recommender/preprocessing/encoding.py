"""Give users and items dense integer ids, without collecting any of them to the driver."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from recommender import columns as c
from recommender import engines
from recommender.engines import F
from recommender.errors import BadDataError
from recommender.schemas import WINDOW

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

T = TypeVar("T")
KEY = "key"
_INT32_MAX = 2**31 - 1
# Two of n ids share a key of 64 bits with probability n^2 / 2^65: one in four for three billion ids.
# Four salts in a row do not fail by chance.
_SALTS = 4


@dataclass(frozen=True)
class Ids:
    """Hold an id table and its length.

    Attributes:
        table: (index int32, id, key), kept.
        count: number of ids; the indices are 0 to count - 1, in binary order of the ids.
    """

    table: DataFrame
    count: int


@dataclass(frozen=True)
class Keyed:
    """Hold interactions whose ids are replaced by keys, and what the keys stand for.

    A key is a hash of the id that no other id of the snapshot has: counted, not hoped for. It is as
    good as the id for all that compares and counts, in 8 bytes, and each row makes its own, without a
    join. Windows, repeats and support are worked out on keys; text is needed again for the ids that are
    left.

    Attributes:
        rows: the interactions; user_id and item_id are int64 keys.
        users: (key, user_id) of all of them, kept.
        items: (key, item_id) of all of them, kept.
        n_items: number of the items.
    """

    rows: DataFrame
    users: DataFrame
    items: DataFrame
    n_items: int

    def release(self) -> None:
        """Free the tables."""
        for table in (self.users, self.items):
            engines.current().release(table)


def shorten(interactions: DataFrame) -> Keyed:
    """Replace the ids of interactions by keys.

    Args:
        interactions: user_id, item_id and others.
    """
    sides = (c.USER_ID, c.ITEM_ID)
    (users, by_user, _), (items, by_item, n_items) = _both(
        lambda: _keys(interactions, c.USER_ID), lambda: _keys(interactions, c.ITEM_ID)
    )
    others = [name for name in interactions.columns if name not in sides]
    key = engines.current().key
    keys = [
        key(F.col(name), salt).alias(name)
        for name, salt in zip(sides, (by_user, by_item), strict=True)
    ]
    return Keyed(interactions.select(*keys, *others), users, items, n_items)


def _keys(interactions: DataFrame, id_column: str) -> tuple[DataFrame, int, int]:
    """Return (key, id) of all distinct ids, kept, the salt with which no two share a key, and their number.

    Raises:
        BadDataError: none of the salts does; the ids were made to collide.
    """
    engine = engines.current()
    ids = interactions.select(id_column).distinct()
    for salt in range(_SALTS):
        key = engine.key(F.col(id_column), salt).alias(KEY)
        table = engine.keep(ids.select(key, id_column))
        found = int(table.count())
        if found == table.select(KEY).distinct().count():
            return table, salt, found
        engine.release(table)
        logger.warning(
            "two of the snapshot's %ss share a key with salt %d: the next", id_column, salt
        )
    message = (
        f"expected a key of its own for each {id_column}, found shared ones with {_SALTS} salts"
    )
    raise BadDataError(message)


def user_and_item_ids(pairs: DataFrame, keyed: Keyed) -> tuple[Ids, Ids]:
    """Number the users and items of pairs in binary order of their ids.

    By the ids alone: not by the order of files, by partitions, nor by keys.

    Args:
        pairs: (user_id, item_id), keys.
        keyed: from ``shorten``.
    """
    return _both(
        lambda: _number(pairs, keyed.users, c.USER_ID, c.USER),
        lambda: _number(pairs, keyed.items, c.ITEM_ID, c.ITEM),
    )


def _number(pairs: DataFrame, table: DataFrame, id_column: str, index: str) -> Ids:
    left = pairs.select(F.col(id_column).alias(KEY)).distinct()
    numbered, count = engines.current().number(left.join(table, KEY), id_column, index)
    if count > _INT32_MAX:
        message = f"expected at most {_INT32_MAX} distinct {id_column}, found {count}"
        raise BadDataError(message)
    return Ids(numbered.select(F.col(index).cast("int").alias(index), id_column, KEY), count)


def _both(first: Callable[[], T], second: Callable[[], T]) -> tuple[T, T]:
    """Do both, at the same time where the engine can."""
    with ThreadPoolExecutor(2 if engines.current().side_by_side else 1) as pool:
        one, other = pool.submit(first), pool.submit(second)
        return one.result(), other.result()


def encode(windowed: DataFrame, users: Ids, items: Ids) -> DataFrame:
    """Replace keys by indices; a row of an unknown user or item keeps the key that is unknown.

    Args:
        windowed: window, user_id, item_id, timestamp, confidence.
        users: who is known.
        items: what is known.

    Returns:
        window, user, item, confidence, timestamp, user_id, item_id; ``user`` (``item``) is null
        where the id is unknown, ``user_id`` (``item_id``), a key, where it is known.
    """
    small = engines.current().small
    by_user = small(users.table.select(c.USER, F.col(KEY).alias(c.USER_ID)), users.count)
    by_item = small(items.table.select(c.ITEM, F.col(KEY).alias(c.ITEM_ID)), items.count)
    joined = windowed.join(by_user, c.USER_ID, "left").join(by_item, c.ITEM_ID, "left")
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

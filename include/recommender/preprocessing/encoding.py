"""Give users and items dense integer ids, without collecting any of them to the driver."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommender import columns as c
from recommender import engines
from recommender.engines import F
from recommender.errors import BadDataError
from recommender.schemas import WINDOW, Schema, conform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_INT32_MAX = 2**31 - 1
_RANK, _TEXT = "rank", "text"


@dataclass(frozen=True)
class Ids:
    """Hold an id table and its length.

    Attributes:
        table: (index int32, id), kept.
        count: number of ids; the indices are 0 to count - 1, in binary order of the ids.
    """

    table: DataFrame
    count: int


@dataclass(frozen=True)
class Shortened:
    """Hold interactions whose ids are replaced by ranks, and what the ranks stand for.

    A rank is the place of an id among all ids of the snapshot, in binary order: as good as the id
    for all that compares, counts and sorts, in 4 bytes. Windows, repeats and support are worked
    out on ranks; text is hashed once.

    Attributes:
        rows: the interactions; user_id and item_id are int32 ranks.
        users: (user, user_id) of all of them.
        items: (item, item_id) of all of them.
    """

    rows: DataFrame
    users: Ids
    items: Ids


def shorten(interactions: DataFrame) -> Shortened:
    """Replace the ids of interactions by ranks.

    Args:
        interactions: user_id, item_id and others.
    """
    users, items = user_and_item_ids(interactions)
    others = [x for x in interactions.columns if x not in {c.USER_ID, c.ITEM_ID}]
    ranked = interactions.join(users.table, c.USER_ID).join(items.table, c.ITEM_ID)
    rows = ranked.select(F.col(c.USER).alias(c.USER_ID), F.col(c.ITEM).alias(c.ITEM_ID), *others)
    return Shortened(rows, users, items)


def user_and_item_ids(pairs: DataFrame) -> tuple[Ids, Ids]:
    """Number both, at the same time where the engine can."""
    with ThreadPoolExecutor(2 if engines.current().side_by_side else 1) as pool:
        users, items = (pool.submit(number, pairs) for number in (user_ids, item_ids))
        return users.result(), items.result()


def user_ids(pairs: DataFrame) -> Ids:
    """Number the users of the pairs in binary order of their ids."""
    return _number(pairs, c.USER_ID, c.USER)


def item_ids(pairs: DataFrame) -> Ids:
    """Number the items of the pairs in binary order of their ids."""
    return _number(pairs, c.ITEM_ID, c.ITEM)


def _number(pairs: DataFrame, id_column: str, index: str) -> Ids:
    """Number distinct ids: by the ids alone, not by the order of files or by partitions."""
    table, count = engines.current().number(pairs.select(id_column).distinct(), id_column, index)
    if count > _INT32_MAX:
        message = f"expected at most {_INT32_MAX} distinct {id_column}, found {count}"
        raise BadDataError(message)
    return Ids(table.select(F.col(index).cast("int").alias(index), id_column), count)


def spell_out(ids: Ids, ranked: Ids, schema: Schema) -> Ids:
    """Give numbered ranks their text again.

    Args:
        ids: (index, rank), from ``user_ids`` or ``item_ids`` of shortened rows.
        ranked: (rank, id), of all ids.
        schema: ``USERS`` or ``ITEMS``.

    Returns:
        (index, id); kept.
    """
    index, name = schema
    ranks = ranked.table.select(F.col(index).alias(_RANK), F.col(name).alias(_TEXT))
    found = ids.table.join(ranks, F.col(name) == F.col(_RANK))
    spelt = conform(found.select(index, F.col(_TEXT).alias(name)), schema)
    return Ids(engines.current().keep(spelt), ids.count)


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

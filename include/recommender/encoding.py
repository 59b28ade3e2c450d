"""Give users and items dense integer ids, without collecting any of them to the driver."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender.errors import BadDataError
from recommender.schemas import ITEMS, USERS, WINDOW, conform

_ROW = "row"
_INT32_MAX = 2**31 - 1
# monotonically_increasing_id holds the partition above bit 33 and the row of it below.
_PARTITION_BITS = 33


@dataclass(frozen=True)
class Ids:
    """Hold an id table and its length.

    Attributes:
        table: (index int32, id string), sorted by index, persisted.
        count: number of ids; the indices are 0 to count - 1.
    """

    table: DataFrame
    count: int


def user_ids(pairs: DataFrame) -> Ids:
    """Number the users of the pairs in binary order of their ids."""
    table, count = _number(pairs.select(c.USER_ID).distinct(), c.USER_ID, c.USER)
    return Ids(conform(table, USERS), count)


def item_ids(pairs: DataFrame) -> Ids:
    """Number the items of the pairs in binary order of their ids."""
    table, count = _number(pairs.select(c.ITEM_ID).distinct(), c.ITEM_ID, c.ITEM)
    return Ids(conform(table, ITEMS), count)


def _number(ids: DataFrame, id_column: str, index_column: str) -> tuple[DataFrame, int]:
    """Sort by range, then add to each row the number of rows in the partitions before its own.

    The result depends on the ids alone: not on the order of the files, nor on how many
    partitions there are. Only one count per partition reaches the driver.
    """
    # Kept, because both passes must see the very same partitions.
    rows = ids.orderBy(id_column).withColumn(_ROW, F.monotonically_increasing_id()).persist()
    partition = F.shiftright(_ROW, _PARTITION_BITS)
    counts = {
        int(row["partition"]): int(row["n"])
        for row in rows.groupBy(partition.alias("partition"))
        .agg(F.count(F.lit(1)).alias("n"))
        .collect()
    }
    starts, total = {}, 0
    for key in sorted(counts):
        starts[key] = total
        total += counts[key]
    if total > _INT32_MAX:
        message = f"expected at most {_INT32_MAX} distinct {id_column}, found {total}"
        raise BadDataError(message)
    if not total:
        return rows.select(F.lit(0).alias(index_column), id_column), 0
    # Index = rows in earlier partitions + row within this one.
    shifts = F.create_map(
        *(F.lit(x) for x in chain(*((k, starts[k] - (k << _PARTITION_BITS)) for k in starts)))
    )
    index = F.col(_ROW) + F.element_at(shifts, partition.cast("int"))
    return rows.select(index.cast("int").alias(index_column), id_column), total


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

"""Reduce interactions to one per user and item, and to users and items with enough of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recommender import columns as c
from recommender import engines
from recommender.engines import F
from recommender.schemas import WINDOW

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

# Real data settles in 3 to 30 rounds. Beyond 50 a round takes out a handful of pairs, and
# nothing downstream needs the last of them.
MAX_ROUNDS = 50


def deduplicate(windowed: DataFrame) -> DataFrame:
    """Keep one row per window, user and item: the latest time, the strongest confidence.

    Windows come first and duplicates second. The other way round, a purchase in the training
    window that is repeated in the test window would survive as a test row only: the training
    data would depend on the future (a leak), and the repeat would count as a new item.
    """
    return windowed.groupBy(WINDOW, c.USER_ID, c.ITEM_ID).agg(
        F.max(c.TIMESTAMP).alias(c.TIMESTAMP), F.max(c.CONFIDENCE).alias(c.CONFIDENCE)
    )


@dataclass(frozen=True)
class Supported:
    """Hold the result of ``minimum_support``.

    Attributes:
        pairs: distinct (user_id, item_id) that are left.
        before: number of distinct pairs at the start.
        after: number of pairs left.
        rounds: rounds it took.
        stable: False when ``MAX_ROUNDS`` ended it, with a few pairs still below the minimum.
    """

    pairs: DataFrame
    before: int
    after: int
    rounds: int
    stable: bool


def minimum_support(pairs: DataFrame, min_items: int, min_users: int, all_items: int) -> Supported:
    """Drop users with too few distinct items and items with too few distinct users, repeatedly.

    The result is the largest set in which every user has ``min_items`` items and every item
    ``min_users`` users (the k-core of the bipartite graph when both are k). Dropping an item may
    take a user below the minimum, hence the rounds.

    Args:
        pairs: distinct (user_id, item_id) that may be fitted on; the test window's must not count.
        min_items: distinct items that a user needs.
        min_users: distinct users that an item needs.
        all_items: how many items there are at most.
    """
    pairs, before = engines.current().settle(pairs)
    left, removed = before, before
    logger.info("support: %d distinct pairs to begin with", before)
    for number in range(1, MAX_ROUNDS + 1):
        found = left
        # What falls below the minimum has just lost a partner. That bounds how many items do, and
        # each of them takes fewer than min_users pairs along, which bounds the users in turn.
        most = removed * max(1, min_users - 1)
        rest = _drop_rare(pairs, c.ITEM_ID, min_users, min(most, all_items))
        rest = _drop_rare(rest, c.USER_ID, min_items, most)
        settled, left = engines.current().settle(rest)
        engines.current().discard(pairs)
        pairs = settled
        removed = found - left
        logger.info("support: round %d leaves %d pairs", number, left)
        if left == found:
            return Supported(pairs, before, left, number, stable=True)
    logger.warning("support: not settled after %d rounds, going on as it is", MAX_ROUNDS)
    return Supported(pairs, before, left, MAX_ROUNDS, stable=False)


def _drop_rare(pairs: DataFrame, key: str, minimum: int, most: int) -> DataFrame:
    """Drop the pairs whose key occurs too seldom; pairs are distinct, so rows are partners.

    The rare keys, ``most`` at most, are joined rather than the frequent ones: from the second round on
    they are few, and pairs then stay where they are, those of a user or item with very many among them.
    """
    if minimum <= 1:
        return pairs
    counts = pairs.groupBy(key).agg(F.count(F.lit(1)).alias("n"))
    rare = counts.filter(F.col("n") < minimum).select(key)
    return pairs.join(engines.current().small(rare, most), key, "left_anti")

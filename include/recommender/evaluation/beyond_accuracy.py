"""Measure lists without asking who took what later: coverage, novelty, popularity, likeness.

Popularity of an item is its number of fit interactions, one per user. Padding (-1) is no item.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recommender.evaluation.metrics import Lists, PerUser

Counts = npt.NDArray[np.int64]


def coverage(recommended: Lists, catalogue: int) -> float:
    """Return distinct recommended items / items with at least one fit interaction.

    Can exceed 1 where a model (content) recommends items without a fit interaction; it is cut
    there.
    """
    return min(1.0, len(np.unique(recommended[recommended >= 0])) / catalogue)


def novelty(recommended: Lists, popularity: Counts, users: int) -> PerUser:
    """Return the mean self-information of a user's list in bits, (n,).

    Mean over its items of log2(users / popularity(i)) (Zhou et al. 2010, PNAS 107(10)). An item
    without a fit interaction counts as one of a single user; an empty list has 0.

    Args:
        recommended: (n, k) lists.
        popularity: (items,) fit interactions of each item.
        users: users with at least one fit interaction.
    """
    information = np.log2(users) - np.log2(np.maximum(popularity, 1))
    return _list_mean(recommended, information)


def popularity_bias(recommended: Lists, histories: PerUser, popularity: Counts) -> float:
    """Return by which share lists are more popular than what their users took before.

    (GAP of the lists - GAP of the histories) / GAP of the histories, where a group's GAP is the
    mean over its users of the mean popularity of their items (Abdollahpouri et al. 2019, RMSE
    workshop). 0: lists as popular as histories; 1: twice as popular; -1: nothing popular.

    Args:
        recommended: (n, k) lists.
        histories: (n,) mean popularity of each user's fit items.
        popularity: (items,) fit interactions of each item.
    """
    lists = list_popularity(recommended, popularity).mean()
    return float(lists / histories.mean() - 1)


def list_popularity(recommended: Lists, popularity: Counts) -> PerUser:
    """Return the mean popularity of a user's list, (n,); an empty list has 0."""
    return _list_mean(recommended, popularity.astype(np.float64))


def overlap(recommended: Lists, other: Lists) -> float:
    """Return the mean share of a user's list that is in the other list as well.

    |A ∩ B| / |A|, over users whose list A is not empty; 0 if there is none.
    """
    lengths = (recommended >= 0).sum(axis=1)
    both = np.sort(np.concatenate([_unpadded(recommended), other], axis=1), axis=1)
    # An item stands in a list once, so equal neighbours are one of each list. Padding of A is a
    # number that B never holds.
    common = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
    shares = common[lengths > 0] / lengths[lengths > 0]
    return float(shares.mean()) if len(shares) else 0.0


def _unpadded(recommended: Lists) -> Lists:
    """Replace padding by distinct negative numbers other than -1."""
    numbers = -2 - np.arange(recommended.shape[1], dtype=np.int32)
    return np.where(recommended >= 0, recommended, numbers)


def _list_mean(recommended: Lists, values: npt.NDArray[np.float64]) -> PerUser:
    there = recommended >= 0
    total = np.where(there, values[np.maximum(recommended, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(there.sum(axis=1), 1), dtype=np.float64)

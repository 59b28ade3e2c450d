"""Score the champion again on a newer dataset, whose users and items have other indices."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recommender.artifact import ALS, POPULARITY, Candidate
from recommender.models import Model
from recommender.ranking import Recommendations, Users

_log = logging.getLogger(__name__)


class Champion:
    """Recommend by a published version's ALS in the indices of a dataset.

    Items that the champion does not know it cannot recommend; items that the dataset does not
    know are dropped; users that the champion does not know get its popularity list.
    """

    def __init__(self, version: Candidate, users: pa.StringArray, items: pa.StringArray) -> None:
        own_users = positions(users, version.users)
        own_items = positions(items, version.items)
        self._warm = own_users >= 0
        self._known = np.flatnonzero(own_items >= 0).astype(np.int32)
        kept = own_items[self._known]
        # Cold users borrow row 0; their lists are replaced by the popular ones below.
        self._als: Model = version.models[ALS].reindex(np.maximum(own_users, 0), kept)
        self._popularity: Model = version.models[POPULARITY].reindex(own_users, kept)
        _log.info(
            f"champion: knows {self._warm.sum():,} of {len(users):,} users and "
            f"{len(kept):,} of {len(items):,} items"
        )

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Rank as every model does; see ``Model.recommend``."""
        seen_known = seen
        if (
            seen is not None and len(self._known) < seen.shape[1]
        ):  # else a copy of all rows for nothing
            seen_known = seen[:, self._known]
        items, scores = self._als.recommend(users, k, seen_known)
        cold = ~self._warm[users]
        if cold.any():
            items[cold], scores[cold] = self._popularity.recommend(users[cold], k, seen_known)
        # Known items are in ascending order, so ties keep breaking by the dataset's index.
        return Recommendations(np.where(items >= 0, _take(self._known, items), -1), scores)


def positions(wanted: pa.StringArray, among: pa.StringArray) -> npt.NDArray[np.int32]:
    """Return where each id lies in another id table, -1 where it does not."""
    return np.asarray(pc.fill_null(pc.index_in(wanted, among), -1)).astype(np.int32)


def _take(values: npt.NDArray[np.int32], places: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Take by place where padding (-1) gives the last value, and nothing can be taken of none."""
    return values[places] if len(values) else np.full_like(places, -1)

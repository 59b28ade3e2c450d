"""Start a fit from the champion's factors, mapped by id, where nothing of the future is in them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recommender.artifact import ALS, Candidate
from recommender.evaluation.champion import positions
from recommender.models import Als
from recommender.models.als import Factors

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmStart:
    """Hold what a fit starts from and where that comes from.

    Attributes:
        factors: of the champion, in the dataset's order; rows of what it does not know are NaN.
        about: the champion's directory, its data's end, and how much of the dataset it knows.
    """

    factors: Factors
    about: dict[str, Any]


def from_champion(
    champion: Candidate, uri: str, users: pa.StringArray, items: pa.StringArray, fit_until: int
) -> WarmStart | None:
    """Map the champion's factors to a dataset; None if they must not or cannot be used.

    A champion fitted on later days than the dataset's fit rows has seen its test window: starting
    from it would carry held-out rows into the candidate.

    Args:
        champion: the published version.
        uri: its directory.
        users: (users,) ids of the dataset, in order of index.
        items: (items,) ids of the dataset, in order of index.
        fit_until: end of the dataset's fit rows, seconds since the epoch.
    """
    theirs, model = int(champion.about["fit_until"]), champion.models.get(ALS)
    if theirs > fit_until:
        _log.warning("no warm start: the champion was fitted on days of this test window")
        return None
    if not isinstance(model, Als):
        _log.warning(f"no warm start: the champion holds no ALS, but {sorted(champion.models)}")
        return None
    own_users, own_items = positions(users, champion.users), positions(items, champion.items)
    factors = Factors(_rows(model.user_factors, own_users), _rows(model.item_factors, own_items))
    about = {
        "champion": uri,
        "fit_until": theirs,
        "known_users": int((own_users >= 0).sum()),
        "known_items": int((own_items >= 0).sum()),
    }
    return WarmStart(factors, about)


def _rows(
    factors: npt.NDArray[np.float32], places: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    """Take rows by place; a place of -1 gives a row of NaN."""
    found = np.full((len(places), factors.shape[1]), np.nan, dtype=np.float32)
    known = places >= 0
    found[known] = factors[places[known]]
    return found

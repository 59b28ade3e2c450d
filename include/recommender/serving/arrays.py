"""Read the arrays of a version or candidate from a local directory, mapped into memory.

Nothing here needs the code that trains: arrays, two id tables and two small JSON files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from recommender import history, titles
from recommender.columns import ITEM_ID, USER_ID
from recommender.distributed import layout
from recommender.errors import ManifestError
from recommender.history import History
from recommender.serving.ids import Ids

_ALS, _POPULARITY = "als", "popularity"
_USERS, _ITEMS = "users.parquet", "items.parquet"
_NEEDED = {
    f"{_ALS}/model.json",
    f"{_ALS}/user_factors.npy",
    f"{_ALS}/item_factors.npy",
    f"{_POPULARITY}/counts.npy",
    _USERS,
    _ITEMS,
}


@dataclass(frozen=True)
class Objective:
    """Say how the fit weighed what a user has; ``recommender.objective`` states the loss."""

    alpha: float
    unobserved: float
    regularization: float
    frequency_exponent: float
    half_life_days: float | None
    user_balance: float


@dataclass(frozen=True)
class Arrays:
    """Hold what a reader needs of a model.

    Attributes:
        users: ids in order of index.
        items: ids in order of index.
        user_factors: (users, d) float32, C-contiguous.
        item_factors: (items, d) float32, C-contiguous.
        counts: (items,) int64 distinct users of each item.
        objective: what the fit minimised: it weighs what a user has in a fold-in.
        history: what the model was fitted on; None in versions from before it was kept.
        titles: the file of the items' titles; None when none is known.
    """

    users: Ids
    items: Ids
    user_factors: npt.NDArray[np.float32]
    item_factors: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]
    objective: Objective
    history: History | None
    titles: Path | None


def is_needed(name: str) -> bool:
    """Tell whether a file of a version is read here; the rest is for the next evaluation."""
    plain = name in _NEEDED or name in history.FILES or name == titles.FILE
    return plain or layout.is_shard(name)


def read(directory: Path) -> Arrays:
    """Read a verified local copy.

    Raises:
        ManifestError: a file is missing, or the arrays do not fit each other.
    """
    if missing := sorted(name for name in _NEEDED if not (directory / name).is_file()):
        message = f"expected {', '.join(missing)} in the version, found none: it is no ALS model"
        raise ManifestError(message)
    users, items = _ids(directory / _USERS, USER_ID), _ids(directory / _ITEMS, ITEM_ID)
    known = (directory / history.HISTORY).is_dir()
    found = Arrays(
        users=users,
        items=items,
        user_factors=_map(directory / _ALS / "user_factors.npy"),
        item_factors=_map(directory / _ALS / "item_factors.npy"),
        counts=_map(directory / _POPULARITY / "counts.npy"),
        objective=_objective(directory / _ALS / "model.json"),
        history=history.read(directory, (len(users), len(items))) if known else None,
        titles=directory / titles.FILE if (directory / titles.FILE).is_file() else None,
    )
    _check(found)
    return found


def _check(found: Arrays) -> None:
    users, items = len(found.users), len(found.items)
    factors = found.item_factors.shape[-1]
    shapes = (found.user_factors.shape, found.item_factors.shape, found.counts.shape)
    if shapes != ((users, factors), (items, factors), (items,)):
        message = (
            f"expected factors and counts of {users} users and {items} items, found arrays of "
            f"{shapes}: the version is of two models; publish again"
        )
        raise ManifestError(message)


def _objective(path: Path) -> Objective:
    document: dict[str, Any] = json.loads(path.read_text())
    settings = document.get("settings", {})
    try:
        return Objective(
            alpha=float(settings["alpha"]),
            # Versions from before these two could be set were fitted with 1 and 0.
            unobserved=float(settings.get("unobserved", 1)),
            frequency_exponent=float(settings.get("frequency_exponent", 0)),
            regularization=float(settings["regularization"]),
            half_life_days=settings["half_life_days"],
            user_balance=float(settings["user_balance"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path.name}: expected the settings of an ALS fit, found {document!r}: {error!r}"
        raise ManifestError(message) from error


def _map(path: Path) -> npt.NDArray[Any]:
    # As a plain array: numpy's memmap class slows every small operation down.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _ids(path: Path, name: str) -> Ids:
    return Ids(pq.ParquetFile(path).read([name]).column(name).combine_chunks())

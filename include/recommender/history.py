"""Keep who has what beside a model: a reader leaves it out of the lists without the dataset.

Two arrays in CSR layout, so that a reader maps them into memory and touches only the rows it is
asked about: 4 bytes an interaction, 8 a user.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recommender.errors import ManifestError
from recommender.interactions import Interactions

HISTORY = "history"
FACTS = "history.json"
_INDPTR, _ITEMS = "indptr.npy", "items.npy"
FILES = tuple(f"{HISTORY}/{name}" for name in (FACTS, _INDPTR, _ITEMS))


@dataclass(frozen=True)
class History:
    """Hold what a model was fitted on, without weights.

    Attributes:
        indptr: (users + 1,) int64; the items of user u are ``items[indptr[u]:indptr[u + 1]]``.
        items: (rows,) int32, ascending within a user.
        newest: time of the newest fit row, seconds since the epoch: ages count back from it.
        typical_rows: median rows of the users that have any.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    newest: int
    typical_rows: float

    def of(self, user: int) -> npt.NDArray[np.int32]:
        """Return the items of one user, ascending."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]


def of_interactions(rows: Interactions) -> History:
    """Return what to keep of the fit rows; there must be a row."""
    return History(rows.indptr.astype(np.int64), rows.items, rows.newest, typical_rows(rows))


def typical_rows(rows: Interactions) -> float:
    """Return the median rows of the users that have any, 1 when nobody has."""
    counts = np.diff(rows.indptr)
    return float(np.median(counts[counts > 0])) if len(rows) else 1.0


def write(directory: Path, history: History) -> None:
    """Write below a candidate's local directory."""
    folder = directory / HISTORY
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"newest": history.newest, "typical_rows": history.typical_rows}
    (folder / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    np.save(folder / _INDPTR, history.indptr, allow_pickle=False)
    np.save(folder / _ITEMS, history.items, allow_pickle=False)


def read(directory: Path, shape: tuple[int, int]) -> History:
    """Map what ``write`` wrote into memory.

    Args:
        directory: a candidate's or version's local directory.
        shape: (users, items) of its id tables.

    Raises:
        ManifestError: the arrays do not fit the id tables.
    """
    folder = directory / HISTORY
    facts = json.loads((folder / FACTS).read_text())
    indptr = np.asarray(np.load(folder / _INDPTR, mmap_mode="r", allow_pickle=False))
    items = np.asarray(np.load(folder / _ITEMS, mmap_mode="r", allow_pickle=False))
    users, catalogue = shape
    fits = indptr.shape == (users + 1,) and indptr[-1] == len(items)
    if not fits or (len(items) and not 0 <= items.min() <= items.max() < catalogue):
        message = (
            f"{folder}: expected the history of {users} users over {catalogue} items, found "
            f"{len(indptr) - 1} users, {len(items)} rows: the version is of two models; publish again"
        )
        raise ManifestError(message)
    return History(indptr, items, int(facts["newest"]), float(facts["typical_rows"]))

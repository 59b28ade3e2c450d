"""Give every model, baselines included, one interface."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.errors import ManifestError
from recommender.interactions import Interactions
from recommender.ranking import Recommendations, Users

MODEL = "model.json"


class Model(ABC):
    """Recommend items to users by index."""

    kind: ClassVar[str]
    """Names the class in ``model.json``."""

    @abstractmethod
    def fit(self, interactions: Interactions) -> Self:
        """Learn from scratch; what an earlier fit learnt is forgotten."""

    @abstractmethod
    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Rank all items for each user: score descending, ties by item index ascending.

        Args:
            users: (n,) int32 indices.
            k: length of the lists.
            seen: (all users, items) CSR of what not to recommend; None leaves nothing out.
        """

    @abstractmethod
    def reindex(self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> Self:
        """Return the model in which user i is the old ``users[i]``, item j the old ``items[j]``."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write arrays as npy and settings as JSON; never a pickle."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote: the same scores to the last bit."""


def write_settings(directory: Path, kind: str, settings: dict[str, Any]) -> None:
    """Write ``model.json``."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {"model": kind, **settings}
    (directory / MODEL).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def read_settings(directory: Path, kind: str) -> dict[str, Any]:
    """Read ``model.json`` without its ``model`` key.

    Raises:
        ManifestError: the directory holds another kind of model.
    """
    document: dict[str, Any] = json.loads((directory / MODEL).read_text())
    found = document.pop("model", None)
    if found != kind:
        message = f"expected a model of kind {kind} in {directory}, found {found!r}"
        raise ManifestError(message)
    return document


def read_array(path: Path, dtype: type[np.generic], dimensions: int) -> npt.NDArray[Any]:
    """Read an npy file; pickled objects, other types and other shapes are refused.

    Raises:
        ManifestError: the array is not what the model needs.
    """
    array = np.load(path, allow_pickle=False)
    if array.dtype != dtype or array.ndim != dimensions:
        message = (
            f"{path}: expected {dimensions} dimensions of {np.dtype(dtype)}, "
            f"found {array.ndim} of {array.dtype}"
        )
        raise ManifestError(message)
    return np.ascontiguousarray(array)

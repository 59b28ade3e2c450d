"""Recommend the neighbours of what a user has: one scorer, three ways to know neighbours.

score(u, j) = sum over the items i of u of confidence(u, i) * similarity(i, j)

Items that no neighbour leads to follow in order of popularity, so that lists are full.
"""

from __future__ import annotations

import contextlib
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.errors import ManifestError
from recommender.interactions import Interactions
from recommender.models.base import Model, read_array, read_settings, write_settings
from recommender.ranking import Recommendations, Scores, Users, top_k

_PARTS: dict[str, type[np.generic]] = {"data": np.float32, "indices": np.int32, "indptr": np.int64}


class Neighbours(Model):
    """Score by a sparse similarity of items; what is similar is said by ``similarities``.

    Attributes:
        history: (users, items) CSR float32, the confidence of the fit rows.
        similarity: (items, items) CSR float32, at most ``neighbours`` entries a row.
    """

    def __init__(self, neighbours: int = 100, threads: int = 0) -> None:
        self.neighbours = neighbours
        self.threads = threads
        self.history = csr_matrix((0, 0), dtype=np.float32)
        self.similarity = csr_matrix((0, 0), dtype=np.float32)

    @abstractmethod
    def similarities(self, history: csr_matrix) -> csr_matrix:
        """Return (items, items) similarities from the (users, items) confidence."""

    def fit(self, interactions: Interactions) -> Self:
        """Keep who has what and find every item's neighbours."""
        self.history = interactions.matrix()
        self.similarity = _tidy(self.similarities(self.history))
        return self

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Add up the neighbours of each user's items, in float64, and rank them."""
        items = self.history.shape[1]
        popularity = np.bincount(self.history.indices, minlength=items)
        without = (-1 / (1 + popularity)).astype(np.float32)  # below every sum, popular ones first

        def score(block: Users) -> Scores:
            had = self.history[block].astype(np.float64)
            scores: Scores = (had @ self.similarity).toarray().astype(np.float32)
            return np.where(scores > 0, scores, without)

        return top_k(score, users, k, items, seen, self.threads)

    def reindex(self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> Self:
        """Return the model with users and items taken in another order."""
        other = self._empty()
        other.history = _tidy(self.history[users][:, items])
        other.similarity = _tidy(self.similarity[items][:, items])
        return other

    def settings(self) -> dict[str, Any]:
        """Return what the constructor needs to make this model again."""
        return {"neighbours": self.neighbours}

    def save(self, directory: Path) -> None:
        """Write both matrices as npy and ``model.json``."""
        shape = list(self.history.shape)
        write_settings(directory, self.kind, {"settings": self.settings(), "shape": shape})
        for name, matrix in (("history", self.history), ("similarity", self.similarity)):
            for part, dtype in _PARTS.items():
                values = getattr(matrix, part).astype(dtype)
                np.save(directory / f"{name}_{part}.npy", values, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ManifestError: the arrays do not fit each other.
        """
        saved = read_settings(directory, cls.kind)
        model = cls.__new__(cls)
        model.__dict__.update(saved["settings"], threads=0)
        users, items = saved["shape"]
        model.history = _read(directory, "history", (users, items))
        model.similarity = _read(directory, "similarity", (items, items))
        return model

    def _empty(self) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other


class ItemItem(Neighbours):
    """Find neighbours by who took both: implicit's cosine or BM25 of the items' users.

    Cosine weighs all users alike; BM25 weighs rare items and users of few items up (K1 1.2, B .75).
    """

    kind: ClassVar[str] = "item_item"

    def __init__(self, weighting: str = "cosine", neighbours: int = 100, threads: int = 0) -> None:
        super().__init__(neighbours, threads)
        self.weighting = weighting

    def similarities(self, history: csr_matrix) -> csr_matrix:
        """Let implicit find the nearest items; each row is one thread's, so the sums are the same."""
        from implicit.nearest_neighbours import bm25_weight, normalize

        if self.weighting == "cosine":
            weighted = normalize(history.T).T
        else:
            weighted = bm25_weight(history.T, 1.2, 0.75).T
        return nearest(weighted, self.neighbours, self.threads)

    def settings(self) -> dict[str, Any]:
        """Return the weighting as well."""
        return {**super().settings(), "weighting": self.weighting}


def nearest(weighted: csr_matrix, neighbours: int, threads: int) -> csr_matrix:
    """Return the largest inner products of each column of (rows, items) with the others.

    Returns:
        (items, items) CSR; an item is not its own neighbour, and nothing below 0 is one.
    """
    from implicit.nearest_neighbours import all_pairs_knn

    with _quiet():
        found = all_pairs_knn(
            weighted.tocsr().astype(np.float64),
            neighbours + 1,  # the item itself comes first
            show_progress=False,
            num_threads=threads,
        ).tocsr()
    found.setdiag(0)
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hush implicit's remark on BLAS threads (no BLAS is used) and scipy's on setting a diagonal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _tidy(matrix: csr_matrix) -> csr_matrix:
    """Return a float32 CSR in canonical order without what is not positive."""
    tidy = csr_matrix(matrix, dtype=np.float32, copy=True)
    tidy.data[tidy.data <= 0] = 0
    tidy.eliminate_zeros()
    tidy.sort_indices()
    return tidy


def _read(directory: Path, name: str, shape: tuple[int, int]) -> csr_matrix:
    parts = {
        part: read_array(directory / f"{name}_{part}.npy", dtype, 1)
        for part, dtype in _PARTS.items()
    }
    try:
        matrix = csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=shape)
        matrix.check_format(full_check=True)
    except ValueError as error:
        message = f"expected {name} of shape {shape} in {directory}: {error}; train again"
        raise ManifestError(message) from error
    return matrix

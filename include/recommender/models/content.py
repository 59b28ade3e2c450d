"""Recommend items that read like what a user has: TF-IDF over title, category and brand.

Items need metadata and no interaction: this is how a new one is reached at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recommender.columns import BRAND, CATEGORY, ITEM_ID, TITLE
from recommender.models.neighbours import Neighbours, nearest

_WORD = re.compile(r"\w\w+")
_SEPARATOR = " > "


class Content(Neighbours):
    """Find neighbours by the cosine of their TF-IDF vectors.

    Args:
        features: (items, terms) CSR from ``features``; not needed once fitted.
    """

    kind: ClassVar[str] = "content"

    def __init__(self, features: csr_matrix, neighbours: int = 100, threads: int = 0) -> None:
        super().__init__(neighbours, threads)
        self.features = features

    def similarities(self, history: csr_matrix) -> csr_matrix:  # noqa: ARG002 - who took it says nothing here
        """Compare items by their terms; rows of ``features`` have length 1."""
        return nearest(self.features.T.tocsr(), self.neighbours, self.threads)


def features(metadata: pa.Table, items: pa.StringArray) -> csr_matrix:
    """Return (items, terms) TF-IDF of each item's text; an item without metadata has no terms.

    Args:
        metadata: rows of ``metadata.table``, one per item, in any order.
        items: ids in order of index.
    """
    place = pc.index_in(items, metadata[ITEM_ID].combine_chunks())
    rows = metadata.select([TITLE, CATEGORY, BRAND]).take(place).to_pylist()
    return tfidf([list(_terms(**row)) for row in rows])


def tfidf(documents: Sequence[Sequence[str]]) -> csr_matrix:
    """Return TF-IDF with smoothed idf and rows of length 1, scikit-learn's defaults.

    tf * (ln((1 + documents) / (1 + documents with the term)) + 1), then divided by the row's
    Euclidean length. Terms are in order of the alphabet.

    Args:
        documents: the terms of each, repeated as often as they occur.
    """
    vocabulary = {t: i for i, t in enumerate(sorted({t for d in documents for t in d}))}
    rows = np.repeat(np.arange(len(documents)), [len(d) for d in documents])
    columns = np.fromiter((vocabulary[t] for d in documents for t in d), dtype=np.int64)
    shape = (len(documents), len(vocabulary))
    counts = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    counts.sum_duplicates()
    having = np.bincount(counts.indices, minlength=shape[1])
    idf = np.log((1 + shape[0]) / (1 + having)) + 1
    counts.data *= idf[counts.indices]
    lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return counts


def _terms(title: str | None, category: str | None, brand: str | None) -> Iterable[str]:
    """Yield words of the title, each place of the category's path, and the brand as a whole.

    A place of the path is a term of its own kind, so that "Strings" the category is not "strings"
    the word.
    """
    yield from _WORD.findall((title or "").lower())
    path: list[str] = []
    for name in (category or "").lower().split(_SEPARATOR):
        if name.strip():
            path.append(name.strip())
            yield f"category: {_SEPARATOR.join(path)}"
    if brand:
        yield f"brand: {brand.strip().lower()}"

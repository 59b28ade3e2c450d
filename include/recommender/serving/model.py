"""Answer queries from one version: immutable once loaded, so any number of threads may ask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from recommender import folding, titles
from recommender.errors import ManifestError, NotFoundError
from recommender.folding import Factors
from recommender.history import History
from recommender.interactions import SECONDS_PER_DAY
from recommender.ranking import Recommendations, Scores, Users, top_k
from recommender.serving.arrays import Arrays
from recommender.serving.lists import Interaction, RankedList, Source
from recommender.weighting import weigh

Indices = npt.NDArray[np.int32]


class ServedModel:
    """Recommend from one published version or one candidate, by ids.

    Attributes:
        version: id of the version, or the candidate's URI.
        about: facts of its manifest: recommender, snapshot, settings, metrics, lineage.
    """

    def __init__(self, version: str, about: dict[str, Any], arrays: Arrays) -> None:
        self.version = version
        self.about = about
        self._arrays = arrays
        self._transposed = arrays.item_factors.T
        self._shared = folding.gram(arrays.item_factors, arrays.objective)
        lengths = np.linalg.norm(arrays.item_factors, axis=1)
        self._inverse = (1 / np.maximum(lengths, 1e-12)).astype(np.float32)
        self._popular: Indices = np.lexsort((-arrays.counts,)).astype(np.int32)
        self._seen = _matrix(arrays)

    @property
    def users(self) -> int:
        """Return how many users the version knows."""
        return len(self._arrays.users)

    @property
    def items(self) -> int:
        """Return how many items the version knows: what it can recommend."""
        return len(self._arrays.items)

    def knows(self, user_id: str) -> bool:
        """Tell whether a user has factors of its own."""
        return self._arrays.users.index(user_id) >= 0

    def seen(self, user_id: str) -> tuple[str, ...]:
        """Return the items that the version was fitted on for a user; none for an unknown one."""
        user = self._arrays.users.index(user_id)
        if user < 0:
            return ()
        return tuple(self._arrays.items.names(self._kept_history().of(user)))

    def titles(self, item_ids: Iterable[str]) -> list[str | None]:
        """Return the title of each item, None where the version knows none; read at the first ask."""
        if self._titles is None:
            return [None for _ in item_ids]
        places = self._arrays.items.indices(item_ids)
        known = pa.array(np.where(places >= 0, places, 0), mask=places < 0)
        found: list[str | None] = self._titles.take(known).to_pylist()
        return found

    def recommend(
        self,
        user_ids: Sequence[str],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        exclude: Collection[str] = (),
    ) -> list[RankedList]:
        """Rank all items for each user: score descending, ties in order of item id.

        A user that the version does not know gets the popular items.

        Args:
            user_ids: whom to recommend to, one or many; many at once are cheaper.
            k: length of the lists.
            exclude_seen: leave out what the version was fitted on for the user.
            exclude: ids of items to leave out of all lists; unknown ones are ignored.

        Raises:
            ManifestError: seen items are to be left out, and the version does not hold them.
        """
        _check(user_ids, k)
        if exclude_seen:
            self._kept_history()
        users = self._arrays.users.indices(user_ids)
        known = np.flatnonzero(users >= 0)
        seen = self._seen if exclude_seen else None
        factors = self._arrays.user_factors
        ranked = self._rank(lambda block: factors[block], users[known], k, seen, exclude)
        lists = dict(zip(known.tolist(), zip(*ranked, strict=True), strict=True))
        if len(known) < len(users):
            popular = self._head(k, self._arrays.items.indices(exclude))
        return [
            self._list(user_id, *lists[place], "personal")
            if place in lists
            else self._list(user_id, *popular, "popular")
            for place, user_id in enumerate(user_ids)
        ]

    def recommend_from(
        self,
        interactions: Iterable[Interaction],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        exclude: Collection[str] = (),
        as_of: int | None = None,
    ) -> RankedList:
        """Rank all items for somebody of whom only these interactions are known: a fold-in.

        The factors are those that the fit's objective asks for, given the items' (see
        ``folding``). Without an item that the version knows, the popular items are returned.

        Args:
            interactions: all that the user has; of equal items the strongest and latest counts.
            k: length of the list.
            exclude_seen: leave out the items of the interactions.
            exclude: ids of further items to leave out.
            as_of: now, in seconds since the epoch: ages count back from it. None takes the newest
                of the fit and of the interactions.
        """
        _check("", k)
        given = self._merge(interactions)
        excluded = self._arrays.items.indices(exclude)
        if not given:
            return self._list("", *self._head(k, excluded), "popular")
        items = np.array(sorted(given), dtype=np.int32)
        indptr = np.array([0, len(items)])
        factors = folding.fold_in(
            indptr,
            items,
            self._weigh(given, as_of),
            self._arrays.item_factors,
            self._shared,
            self._arrays.objective,
        )
        seen = csr_matrix((np.ones(len(items)), items, indptr), shape=(1, self.items))
        ranked = self._rank(
            lambda _: factors, np.zeros(1, np.int32), k, seen if exclude_seen else None, exclude
        )
        return self._list("", ranked.items[0], ranked.scores[0], "folded_in")

    def similar(
        self, item_ids: Sequence[str], k: int = 20, *, exclude: Collection[str] = ()
    ) -> list[RankedList]:
        """Rank all other items for each item by the cosine of their factors.

        Raises:
            NotFoundError: the version does not know an item; it is named.
        """
        _check(item_ids, k)
        items = self._arrays.items.indices(item_ids)
        if unknown := [one for one, place in zip(item_ids, items, strict=True) if place < 0]:
            message = (
                f"expected items that version {self.version} knows, found {', '.join(unknown[:5])}: it was "
                "fitted without them"
            )
            raise NotFoundError(message)
        itself = csr_matrix(
            (np.ones(len(items)), items, np.arange(len(items) + 1)), shape=(len(items), self.items)
        )
        ranked = self._rank(
            lambda block: (
                self._arrays.item_factors[items[block]] * self._inverse[items[block], None]
            ),
            np.arange(len(items), dtype=np.int32),
            k,
            itself,
            exclude,
            self._inverse,
        )
        return [
            self._list(item_id, *one, "similar")
            for item_id, one in zip(item_ids, zip(*ranked, strict=True), strict=True)
        ]

    def popular(self, k: int = 20, *, exclude: Collection[str] = ()) -> RankedList:
        """Return the items with most users: for somebody of whom nothing is known."""
        _check("", k)
        return self._list("", *self._head(k, self._arrays.items.indices(exclude)), "popular")

    @functools.cached_property
    def _titles(self) -> pa.StringArray | None:
        return titles.read(self._arrays.titles) if self._arrays.titles else None

    def _rank(
        self,
        factors: Callable[[Users], Factors],
        users: Users,
        k: int,
        seen: csr_matrix | None,
        exclude: Collection[str],
        scale: npt.NDArray[np.float32] | None = None,
    ) -> Recommendations:
        """Rank by the inner product of a row's and the items' factors, times ``scale``."""
        excluded = self._arrays.items.indices(exclude)
        excluded = excluded[excluded >= 0]

        def score(block: Users) -> Scores:
            scores: Scores = factors(block) @ self._transposed
            if scale is not None:
                scores *= scale
            scores[:, excluded] = -np.inf
            return scores

        return top_k(score, users, k, self.items, seen)

    def _head(self, k: int, excluded: Indices) -> tuple[Indices, npt.NDArray[np.float32]]:
        """Return the k most popular items beside the excluded ones, and their counts."""
        head = self._popular[: k + len(excluded)]
        items = head[~np.isin(head, excluded)][:k]
        return items, self._arrays.counts[items].astype(np.float32)

    def _list(
        self, of: str, items: Indices, scores: npt.NDArray[np.float32], source: Source
    ) -> RankedList:
        kept = items >= 0
        names = tuple(self._arrays.items.names(items[kept]))
        return RankedList(of, names, tuple(scores[kept].tolist()), source, self.version)

    def _merge(self, interactions: Iterable[Interaction]) -> dict[int, Interaction]:
        """Return known items -> interaction, equal ones merged as preprocessing does."""
        merged: dict[int, Interaction] = {}
        for one in interactions:
            index = self._arrays.items.index(one.item_id)
            if index < 0:
                continue
            other = merged.get(index, one)
            times = (one.timestamp, other.timestamp)
            merged[index] = Interaction(
                one.item_id,
                max(one.confidence, other.confidence),
                None if None in times else max(t for t in times if t is not None),
            )
        return merged

    def _weigh(self, given: dict[int, Interaction], as_of: int | None) -> npt.NDArray[np.float32]:
        """Return alpha * r of each interaction, in order of item index."""
        rows = [given[index] for index in sorted(given)]
        objective, history = self._arrays.objective, self._arrays.history
        times = [one.timestamp for one in rows if one.timestamp is not None]
        now = as_of if as_of is not None else max([history.newest if history else 0, *times])
        ages = [max(0, now - (now if t is None else t)) for t in (one.timestamp for one in rows)]
        relative = weigh(
            np.array([one.confidence for one in rows], dtype=np.float32),
            np.array([len(rows)]),
            np.array(ages, dtype=np.float64) / SECONDS_PER_DAY,
            typical_rows=history.typical_rows if history else float(len(rows)),
            half_life_days=objective.half_life_days,
            user_balance=objective.user_balance,
        )
        return np.asarray(objective.alpha * relative, dtype=np.float32)

    def _kept_history(self) -> History:
        if self._arrays.history is None:
            message = (
                f"version {self.version} does not hold who has what: it was published before that "
                "was kept. Pass exclude_seen=False, or the user's items as `exclude`."
            )
            raise ManifestError(message)
        return self._arrays.history


def _matrix(arrays: Arrays) -> csr_matrix | None:
    """Show the history as the CSR that ``top_k`` reads; its values take no memory."""
    history = arrays.history
    if history is None:
        return None
    ones = np.broadcast_to(np.float32(1), history.items.shape)
    shape = (len(arrays.users), len(arrays.items))
    return csr_matrix((ones, history.items, history.indptr), shape=shape)


def _check(ids: Sequence[str], k: int) -> None:
    """Refuse what a type checker would have: one id where several are expected, a k below 1."""
    if isinstance(ids, str) and ids:
        message = f"expected a list of ids, found the text {ids!r}: pass [{ids!r}]"
        raise TypeError(message)
    if k < 1:
        message = f"k: expected 1 or more, found {k}"
        raise ValueError(message)

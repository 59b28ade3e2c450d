"""Measure one range of users, where the data is: the code of one machine on a part of the users.

An executor's process holds the items' factors and counts, as a single machine does; of users and
rows it holds its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from recommender import columns as c
from recommender import interactions
from recommender.artifact import ALS, Candidate
from recommender.config import Evaluate
from recommender.dataset import TEST, TRAIN, VALIDATION
from recommender.distributed import tables
from recommender.distributed.layout import ALL_TIME, BEFORE, DECAYED
from recommender.distributed.spark_als import FACTORS, INDEX
from recommender.distributed.tables import Table
from recommender.distributed.tally import (
    ModelTally,
    NewTally,
    Occurrences,
    PerRows,
    Sample,
    Tally,
    Union,
)
from recommender.evaluation import beyond_accuracy, breakdown, metrics
from recommender.evaluation.champion import Champion
from recommender.evaluation.leaderboard import Ranker
from recommender.evaluation.metrics import Population
from recommender.evaluation.samples import CHAMPION
from recommender.interactions import Interactions
from recommender.models import Als, DecayedPopularity, Model, Popularity
from recommender.objective import Als as Objective
from recommender.ranking import entries

_SHOWN, _PROBED, _HISTORY = 60, 200, 10
_SALT = 7  # of the key that draws users to ask again


@dataclass(frozen=True)
class Places:
    """Say where everything is, and how to measure: what the driver sends to executors.

    Attributes:
        windows: the dataset's windows, by name.
        user_ids: the dataset's users.
        user_factors: the candidate's.
        item_factors: the candidate's.
        item_scores: the candidate's.
        item_ids: the dataset's items.
        models: names of the popularity models to measure.
        champion: directory of the version in use; None when there is none.
        objective: the candidate's, as JSON values.
        settings: how to measure.
    """

    windows: Mapping[str, Table]
    user_ids: Table
    user_factors: Table
    item_factors: Table
    item_scores: Table
    item_ids: Table
    models: tuple[str, ...]
    champion: str | None
    objective: Mapping[str, Any]
    settings: Evaluate


@dataclass(frozen=True)
class Catalogue:
    """Hold what is known of all items."""

    ids: pa.StringArray
    factors: npt.NDArray[np.float32]
    scores: Mapping[str, npt.NDArray[Any]]
    champion: Any

    @property
    def popularity(self) -> npt.NDArray[np.int64]:
        """Return the fit interactions of each item."""
        return np.asarray(self.scores[ALL_TIME]).astype(np.int64)


_LOADED: dict[str, Catalogue] = {}
"""The one catalogue that this process holds, by the key of its evaluation."""


def _catalogue(key: str, places: Places) -> Catalogue:
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = _load(places)
    return _LOADED[key]


def _load(places: Places) -> Catalogue:
    ids = pa.array(tables.read_all(places.item_ids, [c.ITEM_ID])[c.ITEM_ID], pa.string())
    found = tables.read_all(places.item_factors, [INDEX, FACTORS])
    factors = np.zeros((len(ids), found[FACTORS].shape[1]), dtype=np.float32)
    factors[found[INDEX]] = found[FACTORS]
    names = [prefix + name for prefix in ("", BEFORE) for name in places.models]
    scores = tables.read_all(places.item_scores, names)
    return Catalogue(ids, factors, scores, _open_champion(places.champion))


def _open_champion(uri: str | None) -> Any:  # noqa: ANN401 - a context that lives with the process
    """Map the champion's arrays, whichever layout it has; the copy goes when the process ends."""
    if uri is None:
        return None
    from recommender.serving.load import VERSION, fetch_arrays

    context = fetch_arrays(uri, VERSION)
    arrays, _ = context.__enter__()
    return context, arrays


def measure(key: str, places: Places, first: int, last: int) -> Tally:
    """Measure the users from ``first`` to ``last``, the end left out.

    Args:
        key: of this candidate beside this champion: what is loaded for it is not loaded again.
        places: where everything is.
        first: index of the first user.
        last: index behind the last one.
    """
    return _Range(places, _catalogue(key, places), first, last).measure()


class _Range:
    """Hold the rows of a range of users; user 0 is the range's first."""

    def __init__(self, places: Places, catalogue: Catalogue, first: int, last: int) -> None:
        self.places, self.catalogue, self.settings = places, catalogue, places.settings
        self.first, self.last = first, last
        self.shape = last - first, len(catalogue.ids)
        self.training, self.validation = self._rows(TRAIN), self._rows(VALIDATION)
        self.fit_rows = interactions.merge(self.training, self.validation)
        self.fit = self.fit_rows.matrix()
        self.popularity = catalogue.popularity
        self.generator = np.random.default_rng([places.settings.seed, first])

    def _rows(self, window: str) -> Interactions:
        names = (c.USER, c.ITEM, c.CONFIDENCE, c.TIMESTAMP)
        found = tables.read(self.places.windows[window], self.first, self.last, names)
        return interactions.from_columns(
            (found[c.USER] - self.first).astype(np.int32),
            found[c.ITEM].astype(np.int32),
            found[c.CONFIDENCE].astype(np.float32),
            found[c.TIMESTAMP].astype(np.int64),
            self.shape,
        )

    def measure(self) -> Tally:
        """Measure every model on the range's part of the population."""
        held_out = self._rows(TEST).matrix()
        population = metrics.population(
            self.fit, held_out, filter_seen=self.settings.filter_seen, known=self.popularity > 0
        )
        models = self._models()
        seen = self.fit if self.settings.filter_seen else None
        tally = Tally(
            population={k: v for k, v in population.counts.items() if k != "catalogue"},
            warm_users=int((np.diff(self.fit.indptr) > 0).sum()),
            cold=self._cold(),
            probes=self._probes(models[ALS], seen),
        )
        if not len(population.users):
            return tally
        k, users = self.settings.k, population.users
        lists = {name: model.recommend(users, k, seen).items for name, model in models.items()}
        parts = breakdown.parts(self.popularity, population)
        tally.histories = float(breakdown.histories(self.fit, self.popularity, users).sum())
        tally.parts = np.array(
            [[part.sizes.sum(), (part.sizes > 0).sum()] for part in parts.values()], dtype=float
        )
        tally.models = self._tallies(lists, population, parts)
        tally.samples = self._samples(lists, population)
        return tally

    def _models(self) -> dict[str, Ranker]:
        places, catalogue = self.places, self.catalogue
        als = Als(Objective(**places.objective), threads=1)
        found = tables.read(places.user_factors, self.first, self.last, [INDEX, FACTORS])
        als.item_factors = catalogue.factors
        als.user_factors = np.zeros((self.shape[0], catalogue.factors.shape[1]), dtype=np.float32)
        if len(found[INDEX]):
            als.user_factors[found[INDEX] - self.first] = found[FACTORS]
        models: dict[str, Ranker] = {ALS: als}
        models |= {name: _popularity(name, catalogue.scores[name]) for name in places.models}
        if catalogue.champion is not None:
            models[CHAMPION] = self._champion()
        return models

    def _champion(self) -> Champion:
        """Take the rows of the champion that these users have, and all of its items."""
        arrays = self.catalogue.champion[1]
        found = tables.read(self.places.user_ids, self.first, self.last, [c.USER_ID])
        ids = pa.array(found[c.USER_ID], pa.string())
        own = arrays.users.indices(ids.to_pylist())
        als = Als(Objective(factors=arrays.item_factors.shape[1]), threads=1)
        als.user_factors = np.ascontiguousarray(arrays.user_factors[own[own >= 0]])
        als.item_factors = arrays.item_factors
        if not len(
            als.user_factors
        ):  # nobody is known: everybody borrows a row and gets the popular
            als.user_factors = np.zeros((1, arrays.item_factors.shape[1]), dtype=np.float32)
        models: dict[str, Model] = {ALS: als, ALL_TIME: _popularity(ALL_TIME, arrays.counts)}
        version = Candidate(models, ids.filter(pa.array(own >= 0)), arrays.items.table, {})
        return Champion(version, ids, self.catalogue.ids)

    def _tallies(
        self,
        lists: Mapping[str, metrics.Lists],
        population: Population,
        parts: Mapping[str, breakdown.Part],
    ) -> dict[str, ModelTally]:
        hits = {name: metrics.hits(found, population.held_out) for name, found in lists.items()}
        measured = {name: metrics.from_hits(hit, population.sizes) for name, hit in hits.items()}
        rows = np.diff(self.fit.indptr)[population.users].astype(np.int64)
        of_parts = {
            name: [part.recall(lists[name], hits[name]) for part in parts.values()]
            for name in lists
        }
        tallies = {}
        for name, found in lists.items():
            recall = measured[name]["recall"]
            gain = measured[ALS]["recall"] - recall
            curves = breakdown.curves(
                hits[name], population.sizes, breakdown.lengths(self.settings.k)
            )
            tallies[name] = ModelTally(
                metrics=np.array([measured[name][m].sum() for m in metrics.METRICS]),
                recall=Occurrences.of(recall),
                gain=Occurrences.of(gain),
                items=Union.of(found, self.shape[1]),
                novelty=float(beyond_accuracy.novelty(found, self.popularity, 1).sum()),
                popularity=float(beyond_accuracy.list_popularity(found, self.popularity).sum()),
                filled=int((found >= 0).any(axis=1).sum()),
                curves=np.array([curves["recall"], curves["ndcg"]]) * len(recall),
                by_rows=PerRows.of(rows, np.ones(len(recall)), recall, gain, gain**2),
                parts=np.array(
                    [
                        _sums(ours, theirs)
                        for ours, theirs in zip(of_parts[ALS], of_parts[name], strict=True)
                    ]
                ),
                overlap=_overlap(lists[ALS], found),
            )
        return tallies

    def _cold(self) -> NewTally:
        known, taken = self.training.matrix(), self.validation.matrix()
        before = np.asarray(self.catalogue.scores[BEFORE + ALL_TIME])
        rows, items = entries(taken, np.arange(self.shape[0], dtype=np.int32))
        new_user, old_item = np.diff(known.indptr)[rows] == 0, before[items] > 0
        served, reached = new_user & old_item, ~new_user & ~old_item
        users, place = np.unique(rows[served], return_inverse=True)
        shape = (len(users), self.shape[1])
        held_out = csr_matrix((np.ones(len(place), np.float32), (place, items[served])), shape)
        held_out.sort_indices()
        recall = dict.fromkeys(self.places.models, 0.0)
        for name in recall if len(users) else ():
            model = _popularity(name, self.catalogue.scores[BEFORE + name])
            found = model.recommend(users.astype(np.int32), self.settings.k).items
            hit = metrics.hits(found, held_out)
            recall[name] = float(metrics.recall(hit, np.diff(held_out.indptr)).sum())
        return NewTally(
            users=len(users),
            held_out=int(served.sum()),
            recall=recall,
            item_users=len(np.unique(rows[reached])),
            item_held_out=int(reached.sum()),
            items=Union.of(items[reached], self.shape[1]),
        )

    def _samples(self, lists: Mapping[str, metrics.Lists], population: Population) -> Sample:
        """Keep some of the measured users with what a person wants to see of them."""
        keys = self.generator.random(len(population.users))
        chosen = np.argsort(keys)[:_SHOWN]
        ids = self._user_ids(population.users[chosen])
        shown = []
        for place, user_id in zip(chosen.tolist(), ids, strict=True):
            user = int(population.users[place])
            own = slice(self.fit_rows.indptr[user], self.fit_rows.indptr[user + 1])
            newest = np.argsort(-self.fit_rows.timestamp[own], kind="stable")[:_HISTORY]
            told = {
                "user": user_id,
                "rows": int(own.stop - own.start),
                "history": self._names(self.fit_rows.items[own][newest]),
                "held_out": self._names(population.held_out[place].indices),
                "lists": {
                    name: self._names(lists[name][place])
                    for name in (ALS, CHAMPION)
                    if name in lists
                },
            }
            shown.append((float(keys[place]), told))
        return Sample(shown)

    def _probes(self, model: Ranker, seen: csr_matrix | None) -> Sample:
        """Keep some of the users with fit rows with the lists that the candidate gives them."""
        known = np.flatnonzero(np.diff(self.fit.indptr)).astype(np.int32)
        keys = np.random.default_rng([_SALT, self.settings.seed, self.first]).random(len(known))
        chosen = np.argsort(keys)[:_PROBED]
        users = known[chosen]
        ranked = model.recommend(users, self.settings.k, seen)
        asked = []
        for key, user_id, items, scores in zip(
            keys[chosen], self._user_ids(users), ranked.items, ranked.scores, strict=True
        ):
            there = items >= 0
            told = {"user": user_id, "items": self._names(items), "scores": scores[there].tolist()}
            asked.append((float(key), told))
        return Sample(asked)

    def _user_ids(self, users: npt.NDArray[np.int32]) -> list[str]:
        if not len(users):
            return []
        found = tables.read(self.places.user_ids, self.first, self.last, [c.USER_ID])[c.USER_ID]
        return [str(one) for one in found[users]]

    def _names(self, items: npt.NDArray[np.integer]) -> list[str]:
        named: list[str] = self.catalogue.ids.take(pa.array(items[items >= 0])).to_pylist()
        return named


def _popularity(name: str, scores: npt.NDArray[Any]) -> Model:
    if name == DECAYED:
        decayed = DecayedPopularity()
        decayed.scores = scores.astype(np.float32)
        return decayed
    counted = Popularity()
    counted.counts = scores.astype(np.int64)
    return counted


def _sums(ours: metrics.PerUser, theirs: metrics.PerUser) -> list[float]:
    gain = ours - theirs
    return [len(theirs), theirs.sum(), gain.sum(), (gain**2).sum()]


def _overlap(ours: metrics.Lists, theirs: metrics.Lists) -> npt.NDArray[np.float64]:
    there = int(((ours >= 0).sum(axis=1) > 0).sum())
    return np.array([beyond_accuracy.overlap(ours, theirs) * there, there])

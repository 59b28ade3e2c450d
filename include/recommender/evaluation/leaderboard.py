"""Measure every model on the same users, the same held-out items and the same code path."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender.artifact import ALS
from recommender.config import Evaluate
from recommender.errors import EmptyDatasetError
from recommender.evaluation import beyond_accuracy, bootstrap, breakdown, metrics
from recommender.evaluation.breakdown import Cohort, Part
from recommender.evaluation.metrics import Lists, PerUser, Population
from recommender.ranking import Recommendations, Users

_log = logging.getLogger(__name__)


class Ranker(Protocol):
    """Recommend; a model does, and so does a champion that is scored again."""

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Rank all items for each user; see ``Model.recommend``."""


def evaluate(
    models: Mapping[str, Ranker], fit: csr_matrix, held_out: csr_matrix, settings: Evaluate
) -> dict[str, Any]:
    """Return the report without what only the jobs know (lineage, training, cold, seconds).

    One model at a time: beside the models, memory holds lists of k for the users, never users x
    items.

    Args:
        models: by name; ``als`` is compared with each of the others.
        fit: (users, items) CSR of what was fitted.
        held_out: (users, items) CSR of the test window.
        settings: k, filter, bootstrap.

    Raises:
        EmptyDatasetError: nobody can be measured.
    """
    population = choose_population(fit, held_out, settings)
    seen = fit if settings.filter_seen else None
    board = _Board(fit, population, settings)
    for name in sorted(models, key=lambda name: name != ALS):  # the candidate first: see overlap
        board.add(name, models[name].recommend(population.users, settings.k, seen).items)
    report = board.report(list(models))
    for line in table(report):
        _log.info(line)
    return report


def choose_population(fit: csr_matrix, held_out: csr_matrix, settings: Evaluate) -> Population:
    """Choose who is measured; see ``metrics.population``.

    Raises:
        EmptyDatasetError: nobody can be measured.
    """
    population = metrics.population(fit, held_out, filter_seen=settings.filter_seen)
    if not population.counts["users"]:
        message = (
            "expected users with a held-out item that is new to them and known to the model, "
            f"found none: {population.counts}. Lengthen preprocess.holdout_days or lower the "
            "minimum support"
        )
        raise EmptyDatasetError(message)
    return population


@dataclass
class _Board:
    """Collect what is measured of each model; its lists are dropped but for the candidate's."""

    fit: csr_matrix
    population: Population
    settings: Evaluate
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    recalls: dict[str, PerUser] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    part_recalls: dict[str, dict[str, float]] = field(default_factory=dict)
    part_errors: dict[str, dict[str, float]] = field(default_factory=dict)
    candidate_parts: dict[str, PerUser] = field(default_factory=dict)
    overlaps: dict[str, float] = field(default_factory=dict)
    candidate: Lists | None = None

    def __post_init__(self) -> None:
        items = self.fit.shape[1]
        self.popularity: npt.NDArray[np.int64] = np.bincount(self.fit.indices, minlength=items)
        self.warm_users = int((np.diff(self.fit.indptr) > 0).sum())
        self.histories = breakdown.histories(self.fit, self.popularity, self.population.users)
        self.cohorts: dict[str, Cohort] = breakdown.cohorts(self.fit, self.population)
        self.parts: dict[str, Part] = breakdown.parts(self.popularity, self.population)
        self.ks = breakdown.lengths(self.settings.k)

    def add(self, name: str, lists: Lists) -> None:
        """Measure one model's lists, (n, k) over the population."""
        hit = metrics.hits(lists, self.population.held_out)
        measured = metrics.from_hits(hit, self.population.sizes)
        self.recalls[name] = measured["recall"]
        self.scores[name] = self._scores(lists, measured)
        self.curves[name] = breakdown.curves(hit, self.population.sizes, self.ks)
        by_part = {p: part.recall(lists, hit) for p, part in self.parts.items()}
        self.part_recalls[name] = {p: breakdown.mean(values) for p, values in by_part.items()}
        self.part_errors[name] = {
            p: breakdown.gain_error(self.candidate_parts[p], values)
            for p, values in by_part.items()
            if name != ALS and self.candidate_parts
        }
        if name == ALS:
            self.candidate, self.candidate_parts = lists, by_part
        elif self.candidate is not None:
            self.overlaps[name] = beyond_accuracy.overlap(self.candidate, lists)

    def report(self, names: list[str]) -> dict[str, Any]:
        """Lay everything out, the models in the given order."""
        return {
            "k": self.settings.k,
            "population": self.population.counts,
            "models": {name: self.scores[name] for name in names},
            "comparisons": [
                _compare(self.recalls, name, self.settings) for name in names if name != ALS
            ],
            "curves": {
                "k": self.ks,
                "recall": {name: self.curves[name]["recall"] for name in names},
                "ndcg": {name: self.curves[name]["ndcg"] for name in names},
            },
            "cohorts": {name: self._cohort(cohort, names) for name, cohort in self.cohorts.items()},
            "items": {
                part: {
                    **self.parts[part].facts(),
                    "recall": {name: self.part_recalls[name][part] for name in names},
                    "gain_error": {
                        name: errors[part] for name, errors in self.part_errors.items() if errors
                    },
                }
                for part in self.parts
            },
            "overlap": {name: self.overlaps[name] for name in names if name in self.overlaps},
        }

    def _scores(self, lists: Lists, measured: Mapping[str, PerUser]) -> dict[str, Any]:
        interval = bootstrap.interval(
            measured["recall"],
            self.settings.bootstrap_samples,
            self.settings.interval,
            self.settings.seed,
        )
        novelty = beyond_accuracy.novelty(lists, self.popularity, self.warm_users)
        return {
            **{name: float(values.mean()) for name, values in measured.items()},
            "recall_ci": list(interval),
            "coverage": beyond_accuracy.coverage(lists, self.population.counts["catalogue"]),
            "novelty": float(novelty.mean()),
            "popularity_bias": beyond_accuracy.popularity_bias(
                lists, self.histories, self.popularity
            ),
        }

    def _cohort(self, cohort: Cohort, names: list[str]) -> dict[str, Any]:
        mine = self.recalls.get(ALS)
        return {
            "users": int(cohort.users.sum()),
            "rows": list(cohort.rows),
            "recall": {name: float(self.recalls[name][cohort.users].mean()) for name in names},
            "gain_error": {
                name: breakdown.gain_error(mine[cohort.users], self.recalls[name][cohort.users])
                for name in names
                if mine is not None and name != ALS
            },
        }


def table(report: Mapping[str, Any]) -> list[str]:
    """Lay a report's models out in aligned lines, for people."""
    width = max(len(name) for name in report["models"])
    k, population = report["k"], report["population"]
    lines = [
        f"{population['users']:,} users, {population['held_out']:,} held-out items, lists of {k}",
        f"{'':{width}}  recall [interval]        ndcg    map     hit     coverage  als against it",
    ]
    gains = {entry["baseline"]: entry for entry in report["comparisons"]}
    for name, s in report["models"].items():
        low, high = s["recall_ci"]
        lines.append(
            f"{name:{width}}  {s['recall']:.4f} [{low:.4f}, {high:.4f}]  {s['ndcg']:.4f}  "
            f"{s['map']:.4f}  {s['hit_rate']:.4f}  {s['coverage']:.4f}    {_gain(gains.get(name))}"
        )
    return [line.rstrip() for line in lines]


def _gain(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    relative = "" if entry["relative"] is None else f"{entry['relative']:+.1%} "
    return f"{relative}[{entry['ci_low']:+.4f}, {entry['ci_high']:+.4f}]"


def _compare(recalls: Mapping[str, PerUser], baseline: str, settings: Evaluate) -> dict[str, Any]:
    comparison = bootstrap.compare(
        recalls[ALS],
        recalls[baseline],
        settings.bootstrap_samples,
        settings.interval,
        settings.seed,
    )
    return {"candidate": ALS, "baseline": baseline, "metric": "recall", **asdict(comparison)}

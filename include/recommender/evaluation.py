"""Measure every model on the same users, the same held-out items and the same code path."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from recommender import bootstrap, metrics
from recommender.artifact import ALS
from recommender.config import Evaluate
from recommender.errors import EmptyDatasetError
from recommender.metrics import PerUser, Population
from recommender.ranking import Recommendations, Users

_log = logging.getLogger(__name__)


class Ranker(Protocol):
    """Recommend; a model does, and so does a champion that is scored again."""

    def recommend(self, users: Users, k: int, seen: csr_matrix | None = None) -> Recommendations:
        """Rank all items for each user; see ``Model.recommend``."""


def evaluate(
    models: Mapping[str, Ranker], fit: csr_matrix, held_out: csr_matrix, settings: Evaluate
) -> dict[str, Any]:
    """Return the report without its lineage: k, population, models, comparisons.

    Args:
        models: by name; ``als`` is compared with each of the others.
        fit: (users, items) CSR of what was fitted.
        held_out: (users, items) CSR of the test window.
        settings: k, filter, bootstrap.

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
    seen = fit if settings.filter_seen else None
    scores: dict[str, dict[str, Any]] = {}
    recalls: dict[str, PerUser] = {}
    for name, model in models.items():
        lists = model.recommend(population.users, settings.k, seen).items
        measured = metrics.per_user(lists, population)
        recalls[name] = measured["recall"]
        scores[name] = _scores(lists, measured, population, settings)
    comparisons = [_compare(recalls, name, settings) for name in models if name != ALS]
    report = {
        "k": settings.k,
        "population": population.counts,
        "models": scores,
        "comparisons": comparisons,
    }
    for line in table(report):
        _log.info(line)
    return report


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


def _scores(
    lists: np.ndarray[Any, np.dtype[np.int32]],
    measured: Mapping[str, PerUser],
    population: Population,
    settings: Evaluate,
) -> dict[str, Any]:
    interval = bootstrap.interval(
        measured["recall"], settings.bootstrap_samples, settings.interval, settings.seed
    )
    return {
        **{name: float(values.mean()) for name, values in measured.items()},
        "recall_ci": list(interval),
        "coverage": metrics.coverage(lists, population.counts["catalogue"]),
    }


def _compare(recalls: Mapping[str, PerUser], baseline: str, settings: Evaluate) -> dict[str, Any]:
    comparison = bootstrap.compare(
        recalls[ALS],
        recalls[baseline],
        settings.bootstrap_samples,
        settings.interval,
        settings.seed,
    )
    return {"candidate": ALS, "baseline": baseline, "metric": "recall", **asdict(comparison)}

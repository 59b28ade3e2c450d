"""Train and measure with Spark: what ``train`` and ``evaluate`` do where one machine is too small.

The driver reads manifests, footers and sums; it holds no table of users, items or rows.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from typing import Any

from recommender import artifact, manifest, storage
from recommender.config import Recommender
from recommender.distributed.layout import SHARDED
from recommender.errors import ConfigError
from recommender.jobs import measured
from recommender.jobs.measured import Measured
from recommender.lineage import identity, provenance
from recommender.locations import (
    MANIFEST,
    PROFILE,
    SEARCH,
    SUMMARY,
    join,
)
from recommender.manifest import Manifest
from recommender.objective import SPARK
from recommender.training import engine_choice

_log = logging.getLogger("recommender.jobs.distributed")


@dataclass(frozen=True)
class Prepared:
    """Know a dataset without its tables.

    Attributes:
        uri: where it lies.
        sealed: its manifest, verified.
        profile: its data profile.
    """

    uri: str
    sealed: Manifest
    profile: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Return (users, items)."""
        return int(self.profile["users"]), int(self.profile["items"])

    @property
    def fit_until(self) -> int:
        """Return the end of the rows that may be fitted, seconds since the epoch."""
        return int(self.profile["fit_until"])

    @property
    def content(self) -> str:
        """Return the hash of its tables alone."""
        return identity.content(self.sealed)

    @property
    def sha256(self) -> str:
        """Return the hash of its manifest."""
        return storage.sha256(join(self.uri, MANIFEST))


def open_prepared(uri: str) -> Prepared:
    """Verify a dataset and read its profile."""
    sealed = manifest.verify(uri, "dataset")
    return Prepared(uri, sealed, storage.read_json(join(uri, PROFILE)))


def train(arguments: argparse.Namespace, recommender: Recommender) -> None:
    """Fit ``train.distributed`` and write a sharded candidate; see ``distributed.train``.

    Raises:
        ConfigError: a search is asked for, or the gate insists on what Spark does not fit.
    """
    from recommender.distributed.train import train as fit  # here: it imports Spark
    from recommender.engines import spark_session

    _check(recommender)
    began = time.monotonic()
    prepared = open_prepared(arguments.dataset)
    with spark_session.session("train") as session:
        notes = fit(session, prepared.uri, prepared.shape, recommender, arguments.output)
    why = arguments.engine_why or f"{SPARK}, asked for"
    facts = {**_facts(recommender, prepared, notes), "engine": {"engine": SPARK, "why": why}}
    storage.write_json(join(arguments.output, SEARCH), None)
    summary = _summary(recommender, prepared, notes, time.monotonic() - began)
    storage.write_json(join(arguments.output, SUMMARY), summary)
    manifest.seal(arguments.output, artifact.CANDIDATE, facts)
    _log.info(f"candidate at {arguments.output}: {summary}")


def evaluate(arguments: argparse.Namespace, recommender: Recommender) -> None:
    """Measure a sharded candidate and write report, samples and probes.

    Raises:
        BadDataError: the candidate is of another dataset.
    """
    from recommender.distributed.evaluate import evaluate as measure  # here: it imports Spark
    from recommender.engines import spark_session

    sealed = manifest.verify(arguments.candidate, artifact.CANDIDATE)
    prepared = open_prepared(arguments.dataset)
    measured.require_same_dataset(sealed.about, prepared)
    with spark_session.session("evaluate") as session:
        found = measure(
            session,
            prepared.uri,
            prepared.shape,
            arguments.candidate,
            sealed.about,
            arguments.champion,
            recommender.evaluate,
        )
    champion = arguments.champion and manifest.read(arguments.champion, artifact.VERSION).about
    measured.write(Measured(*found), prepared, sealed.about, champion, recommender, arguments)


def _check(recommender: Recommender) -> None:
    """Refuse what this engine would leave out in silence."""
    if recommender.train.search is not None:
        message = (
            "train.search: engine spark fits train.distributed as it is, found a search: set "
            "train.search to null, and choose the setting on a sample with engine implicit"
        )
        raise ConfigError(message)
    engine_choice.require_measurable(SPARK, recommender.gate.baselines)


def _facts(recommender: Recommender, prepared: Prepared, notes: dict[str, Any]) -> dict[str, Any]:
    settings = recommender.train
    return {
        "recommender": recommender.name,
        "fit_until": prepared.fit_until,
        "seed": settings.seed,
        "threads": None,
        "settings": settings.model_dump(mode="json"),
        "setting": settings.distributed.model_dump(),
        "training": {k: v for k, v in notes.items() if k != "rows"},
        SHARDED: True,
        "dataset": {
            "uri": prepared.uri,
            "sha256": prepared.sha256,
            "about": prepared.sealed.about,
        },
        **provenance.describe(),
    }


def _summary(
    recommender: Recommender, prepared: Prepared, notes: dict[str, Any], seconds: float
) -> dict[str, Any]:
    users, items = prepared.shape
    return {
        "setting": recommender.train.distributed.model_dump(),
        "validation_recall": None,
        "search": "none",
        "trials": 0,
        "warm_start": None,
        "rows": notes["rows"],
        "users": users,
        "items": items,
        "fit_until": prepared.fit_until,
        "seconds": round(seconds, 3),
    }

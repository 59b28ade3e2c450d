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
from recommender.dataset import TEST
from recommender.distributed.layout import SHARDED
from recommender.errors import BadDataError, ConfigError
from recommender.evaluation.samples import CHAMPION
from recommender.lineage import identity, provenance
from recommender.locations import (
    MANIFEST,
    PROBES,
    PROFILE,
    REPORT,
    SAMPLES,
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
    if sealed.about["dataset"]["sha256"] != prepared.sha256:
        message = (
            f"expected a candidate trained on {prepared.uri}, found one of another dataset: train "
            "again on this dataset"
        )
        raise BadDataError(message)
    champion = _champion(arguments.champion, int(sealed.about["fit_until"]))
    with spark_session.session("evaluate") as session:
        report, samples, probes = measure(
            session,
            prepared.uri,
            prepared.shape,
            arguments.candidate,
            sealed.about,
            arguments.champion,
            recommender.evaluate,
        )
    _add_training(report, sealed.about, arguments.champion)
    cold = prepared.profile.get("cold", {}).get(TEST)
    report["population"] = {**report["population"], "cold": cold}
    report["lineage"] = {
        **_lineage(prepared, sealed, recommender, arguments),
        "champion": champion,
        **dict(arguments.lineage),
    }
    storage.write_json(join(arguments.output, SAMPLES), samples)
    storage.write_json(join(arguments.output, PROBES), probes)
    storage.write_json(join(arguments.output, REPORT), report)
    manifest.seal(arguments.output, "report", {"recommender": recommender.name})
    _log.info(f"report at {join(arguments.output, REPORT)}")


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
        "fit_until": int(prepared.profile["fit_until"]),
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
        "fit_until": int(prepared.profile["fit_until"]),
        "seconds": round(seconds, 3),
    }


def _champion(uri: str | None, fit_until: int) -> dict[str, Any] | None:
    if uri is None:
        return None
    theirs = int(manifest.read(uri, artifact.VERSION).about["fit_until"])
    if theirs > fit_until:
        _log.warning("the champion was fitted on days of this test window: its recall is inflated")
    return {
        "uri": uri,
        "version": uri.rstrip("/").rsplit("/", 1)[-1],
        "fit_until": theirs,
        "saw_held_out": theirs > fit_until,
    }


def _add_training(report: dict[str, Any], about: dict[str, Any], champion: str | None) -> None:
    noted = about.get("training", {})
    seconds = dict(noted.get("seconds_fit", {}))
    if champion is not None:
        theirs = manifest.read(champion, artifact.VERSION).about.get("training", {})
        seconds[CHAMPION] = theirs.get("seconds_fit", {}).get(artifact.ALS)
    for name, scores in report["models"].items():
        scores["seconds_fit"] = seconds.get(name)
    report["training"] = {
        "validation_curve": [],
        "train_loss": None,
        "engine": about.get("engine"),
    }
    report["left_out"] = noted.get("left_out", {})


def _lineage(
    prepared: Prepared, sealed: Manifest, recommender: Recommender, arguments: argparse.Namespace
) -> dict[str, Any]:
    return {
        "recommender": recommender.name,
        "dataset": {
            "uri": prepared.uri,
            "sha256": prepared.sha256,
            "content": identity.content(prepared.sealed),
            "fit_until": int(prepared.profile["fit_until"]),
        },
        "candidate": {
            "uri": arguments.candidate,
            "sha256": storage.sha256(join(arguments.candidate, MANIFEST)),
            "about": sealed.about,
        },
        "settings": recommender.evaluate.model_dump(mode="json"),
        "seed": sealed.about["seed"],
        "threads": None,
        **provenance.describe(),
    }

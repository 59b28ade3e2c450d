"""Complete a report with what is not measured, and write it: the same on one machine and on many."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from recommender import artifact, manifest, storage
from recommender.config import Recommender
from recommender.dataset import TEST
from recommender.errors import BadDataError, ConfigError
from recommender.evaluation.samples import CHAMPION
from recommender.lineage import provenance
from recommender.locations import MANIFEST, PROBES, REPORT, SAMPLES, join

_log = logging.getLogger("recommender.jobs.measured")


class Prepared(Protocol):
    """Know a prepared dataset; its tables are not asked for."""

    @property
    def uri(self) -> str:
        """Return where it lies."""

    @property
    def sha256(self) -> str:
        """Return the hash of its manifest."""

    @property
    def content(self) -> str:
        """Return the hash of its tables alone."""

    @property
    def fit_until(self) -> int:
        """Return the end of the rows that may be fitted, seconds since the epoch."""

    @property
    def profile(self) -> dict[str, Any]:
        """Return its data profile."""


@dataclass(frozen=True)
class Measured:
    """Hold what a measurement has found.

    Attributes:
        report: metrics, comparisons, curves, cohorts, cold start.
        samples: ten users with their lists.
        probes: what the fixed users of the verification get.
    """

    report: dict[str, Any]
    samples: list[dict[str, Any]]
    probes: dict[str, Any]


def write(
    found: Measured,
    dataset: Prepared,
    about: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    recommender: Recommender,
    arguments: argparse.Namespace,
) -> None:
    """Write report, samples, probes and, last, the manifest.

    Args:
        found: what was measured.
        dataset: on which.
        about: facts of the candidate's manifest.
        champion: facts of the champion's manifest; None when there is none.
        recommender: its configuration.
        arguments: of the job: candidate, champion, lineage and output are used.

    Raises:
        ConfigError: a fact of the caller's would hide one of ours.
    """
    report = found.report
    _add_training(report, about, champion)
    cold = dataset.profile.get("cold", {}).get(TEST)
    report["population"] = {**report["population"], "cold": cold}
    lineage = _lineage(dataset, about, recommender, arguments.candidate)
    lineage["champion"] = _champion_lineage(champion, arguments.champion, dataset.fit_until)
    report["lineage"] = _with_facts(lineage, arguments.lineage)
    storage.write_json(join(arguments.output, SAMPLES), found.samples)
    storage.write_json(join(arguments.output, PROBES), found.probes)
    storage.write_json(join(arguments.output, REPORT), report)
    manifest.seal(arguments.output, "report", {"recommender": recommender.name})
    _log.info(f"report at {join(arguments.output, REPORT)}")


def require_same_dataset(about: Mapping[str, Any], dataset: Prepared) -> None:
    """Refuse a candidate of another dataset.

    Its indices may name other users; and where they do not, as in the next snapshot's, it may have been
    fitted on the very rows that are held out here.

    Args:
        about: of the candidate's manifest.
        dataset: what it is to be measured on.

    Raises:
        BadDataError: it was trained on another one.
    """
    trained = about.get("dataset") or {}
    if trained.get("sha256") != dataset.sha256:
        message = (
            f"expected a candidate trained on {dataset.uri}, found one of another dataset "
            f"({trained.get('uri', 'which its manifest does not name')}): train again on this dataset"
        )
        raise BadDataError(message)


def _add_training(
    report: dict[str, Any], about: Mapping[str, Any], champion: Mapping[str, Any] | None
) -> None:
    """Add what the fits have noted: seconds of each model, validation curve and loss of ALS.

    A version of before these were noted has none, and is measured all the same.
    """
    noted = about.get("training", {})
    seconds = dict(noted.get("seconds_fit", {}))
    if champion is not None:
        theirs = champion.get("training", {}).get("seconds_fit", {})
        seconds[CHAMPION] = theirs.get(artifact.ALS)
    for name, scores in report["models"].items():
        scores["seconds_fit"] = seconds.get(name)
    report["training"] = {
        "validation_curve": noted.get("validation_curve", []),
        "train_loss": noted.get("train_loss"),
        "engine": about.get("engine"),
    }
    report["left_out"] = noted.get("left_out", {})


def _lineage(
    dataset: Prepared, about: Mapping[str, Any], recommender: Recommender, candidate: str
) -> dict[str, Any]:
    """Return where the numbers come from: data, model, settings and code."""
    return {
        "recommender": recommender.name,
        "dataset": {
            "uri": dataset.uri,
            "sha256": dataset.sha256,
            "content": dataset.content,
            "fit_until": dataset.fit_until,
        },
        "candidate": {
            "uri": candidate,
            "sha256": storage.sha256(join(candidate, MANIFEST)),
            "about": about,
        },
        "settings": recommender.evaluate.model_dump(mode="json"),
        "seed": about["seed"],
        "threads": about["threads"],
        **provenance.describe(),
    }


def _with_facts(lineage: dict[str, Any], facts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Add the caller's facts; none may hide what was measured or an earlier fact.

    Raises:
        ConfigError: a key is taken.
    """
    for key, value in facts:
        if key in lineage:
            message = f"expected --lineage keys that are free, found {key}; choose another name"
            raise ConfigError(message)
        lineage[key] = value
    return lineage


def _champion_lineage(
    champion: Mapping[str, Any] | None, uri: str | None, fit_until: int
) -> dict[str, Any] | None:
    """Name the champion and say whether it was fitted on days of this test window.

    A champion of a later snapshot has seen held-out rows, so its recall is no fair bar.
    """
    if champion is None or uri is None:
        return None
    theirs = int(champion["fit_until"])
    if theirs > fit_until:
        _log.warning("the champion was fitted on days of this test window: its recall is inflated")
    return {
        "uri": uri,
        "version": uri.rstrip("/").rsplit("/", 1)[-1],
        "fit_until": theirs,
        "saw_held_out": theirs > fit_until,
    }

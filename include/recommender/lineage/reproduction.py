"""Hold a version that was trained again from its manifest against the version itself: pure.

Three answers. ``bit-equal``: every file of the version's models has the same SHA-256, and every metric is
the same number. ``metric-equal``: not that, but every metric agrees within the tolerance (other threads,
libraries or processors add floats in another order). ``different``: neither, or one of the two reports
lacks a model or a metric of the other. Equal files with other metrics are ``different``, too: the model
is the same and was measured differently.

The metrics are every number that the version's report holds of a model; no intervals, which are drawn
around them, and no seconds. What newer code adds, a file, a model or a metric, is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recommender.errors import ManifestError
from recommender.gate.policy import CHAMPION
from recommender.lineage import facts, provenance
from recommender.locations import REPORT, SUMMARY
from recommender.manifest import File, Manifest

Answer = Literal["bit-equal", "metric-equal", "different"]
Side = Literal["then", "now"]
Scores = dict[str, dict[str, float]]

TOLERANCE = 0.01
"""Largest relative difference of a metric that still counts as equal."""

# Records of one run, with times and places in them; no part of the model.
_RECORDS = frozenset({REPORT, SUMMARY, "decision.json", "search.json"})


@dataclass(frozen=True)
class Reproduction:
    """Hold the answer and what it rests on.

    Attributes:
        answer: see the module.
        files: name -> (SHA-256 then, SHA-256 now) of every file of the version that differs; None
            where it is absent now.
        compared: how many files were compared; at least one.
        metrics: (model, metric) -> (then, now) of every metric that differs at all.
        missing: ``model`` or ``model.metric`` that only one of the two reports has -> the one that
            lacks it.
        worst: largest relative difference of a metric, from 0 (equal) to 2 (opposite).
        tolerance: what was allowed.
        environment: fact -> (then, now) of versions, threads and code that differ: the usual causes.
    """

    answer: Answer
    files: dict[str, tuple[str, str | None]]
    compared: int
    metrics: dict[tuple[str, str], tuple[float, float]]
    missing: dict[str, Side]
    worst: float
    tolerance: float
    environment: dict[str, tuple[str, str]]

    @property
    def reason(self) -> str:
        """Say in one sentence, without its full stop, what the answer rests on."""
        same = f"all {self.compared} files of the model have the same SHA-256"
        if self.answer == "bit-equal":
            return f"{same}, and every metric is equal"
        parts = [f"metrics differ by {self.worst:.2%} at most ({self.tolerance:.2%} is allowed)"]
        if self.missing:
            parts.append(f"measured only once: {', '.join(sorted(self.missing))}")
        parts.append(f"{len(self.files)} of {self.compared} files differ" if self.files else same)
        found = ", ".join(parts)
        if self.answer == "different" and not self.files:
            return (
                f"{found}: the model is the same and was measured differently, on another test "
                "window for example"
            )
        return found

    def lines(self) -> Iterator[str]:
        """Yield what a person reads, the answer first."""
        yield f"{self.answer}: {self.reason}"
        for name, (was, found) in self.environment.items():
            yield f"  {name} was {was}, is {found}"
        for name in sorted(self.files):
            yield f"  file {name} differs"
        for name, side in sorted(self.missing.items()):
            other = "now" if side == "then" else "then"
            yield f"  {name} was not measured {side}, only {other}"
        for (model, metric), (then, now) in sorted(self.metrics.items()):
            yield f"  {model} {metric} was {then:.6g}, is {now:.6g}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "answer": self.answer,
            "compared": self.compared,
            "files": {name: list(pair) for name, pair in self.files.items()},
            "metrics": {f"{m}.{k}": list(pair) for (m, k), pair in self.metrics.items()},
            "missing": self.missing,
            "worst": self.worst,
            "tolerance": self.tolerance,
            "environment": {name: list(pair) for name, pair in self.environment.items()},
        }


def tolerance(text: str) -> float:
    """Parse what counts as equal, a share such as 0.01.

    Raises:
        ValueError: it is no number that a difference could be held against.
    """
    share = float(text)
    if not 0 <= share < math.inf:
        message = f"expected a share such as 0.01, found {text}"
        raise ValueError(message)
    return share


def require_comparable(version: Manifest) -> None:
    """Refuse a version that ``compare`` would refuse: before the fits, which may take hours.

    Raises:
        ManifestError: the version's manifest has no files or no metrics to compare with.
    """
    _model_files(version)
    _recorded_scores(version)


def compare(
    version: Manifest, candidate: Manifest, report: Mapping[str, Any], tolerance: float = TOLERANCE
) -> Reproduction:
    """Compare a version with the candidate and the report that its manifest has led to.

    Args:
        version: manifest of the published version.
        candidate: manifest of what was trained again.
        report: the report of its evaluation on the same dataset.
        tolerance: largest relative difference of a metric that still counts as equal.

    Raises:
        ManifestError: the version's manifest has no files or no metrics to compare with.
    """
    theirs = _model_files(version)
    files = dict(_differing_files(theirs, candidate.files))
    then, now = _recorded_scores(version), _scores(report["models"])
    differing = {key: pair for key, pair in _metric_pairs(then, now) if pair[0] != pair[1]}
    missing = dict(_missing(then, now))
    worst = max((_relative(*pair) for pair in differing.values()), default=0.0)
    equal: Answer = "metric-equal" if files or differing else "bit-equal"
    return Reproduction(
        answer="different" if missing or worst > tolerance else equal,
        files=files,
        compared=len(theirs),
        metrics=differing,
        missing=missing,
        worst=worst,
        tolerance=tolerance,
        environment=dict(_environment(version.about, candidate.about)),
    )


def _model_files(version: Manifest) -> dict[str, File]:
    """Return the version's files but for the records of its run; at least one.

    Raises:
        ManifestError: there is none: nothing would differ, whatever came out.
    """
    found = {name: file for name, file in version.files.items() if name not in _RECORDS}
    if not found:
        message = (
            "expected files of a model in the version's manifest, found none: there is nothing to "
            "compare with; make a version again that holds its models"
        )
        raise ManifestError(message)
    return found


def _differing_files(
    then: Mapping[str, File], now: Mapping[str, File]
) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield the version's files that came out otherwise; what newer code adds beside them is none."""
    for name in sorted(then):
        found = now[name].sha256 if name in now else None
        if then[name].sha256 != found:
            yield name, (then[name].sha256, found)


def _recorded_scores(version: Manifest) -> Scores:
    """Return what the version's report has measured; at least one metric.

    Raises:
        ManifestError: there is none.
    """
    found = _scores(facts.require(version.about, "metrics", dict))
    if not any(found.values()):
        message = (
            "expected metrics of models in the version's manifest, found none: there is nothing to "
            "compare with; make a version again that was measured"
        )
        raise ManifestError(message)
    return found


def _scores(models: Mapping[str, Any]) -> Scores:
    """Return model -> metric -> value of a report; a champion is no part of the version."""
    return {
        model: {name: float(value) for name, value in values.items() if _is_metric(name, value)}
        for model, values in models.items()
        if model != CHAMPION and isinstance(values, Mapping)
    }


def _is_metric(name: str, value: object) -> bool:
    """Tell a metric from an interval, which is a list, from seconds, and from what is not known."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and not name.startswith("seconds")


def _metric_pairs(
    then: Scores, now: Scores
) -> Iterator[tuple[tuple[str, str], tuple[float, float]]]:
    """Yield what both reports have measured of the same models."""
    for model in sorted(then.keys() & now.keys()):
        for metric in sorted(then[model].keys() & now[model].keys()):
            yield (model, metric), (then[model][metric], now[model][metric])


def _missing(then: Scores, now: Scores) -> Iterator[tuple[str, Side]]:
    """Yield the models and metrics of the version's report that one of the reports lacks.

    Of a metric that the version's report holds of some models only, the others lack it ``then``. One
    that it holds of none is new, and no difference.
    """
    names = {metric for scores in then.values() for metric in scores}
    for model in sorted(then):
        if model not in now:
            yield model, "now"
            continue
        for metric in sorted(names):
            if metric in then[model] and metric not in now[model]:
                yield f"{model}.{metric}", "now"
            if metric not in then[model] and metric in now[model]:
                yield f"{model}.{metric}", "then"


def _relative(then: float, now: float) -> float:
    """Return the difference as a share of the larger magnitude, from 0 to 2; 0 if both are 0.

    Not of the old value: that may be 0, and JSON has no infinity.
    """
    larger = max(abs(then), abs(now))
    return abs(now - then) / larger if larger else 0.0


def _environment(
    then: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the facts that explain a difference: libraries, code, threads, data."""
    was, found = (facts.find(about, "versions", dict) or {} for about in (then, now))
    for name in sorted({*was, *found}):
        if was.get(name) != found.get(name):
            yield name, (str(was.get(name)), str(found.get(name)))
    code_then, code_now = (facts.find(about, "code_hash", str) for about in (then, now))
    if (
        code_then
        and code_now
        and code_then != code_now
        and provenance.comparable(code_then, code_now)
    ):
        yield "code_hash", (code_then, code_now)
    for name in ("threads", "seed"):
        if then.get(name) != now.get(name):
            yield name, (str(then.get(name)), str(now.get(name)))
    shas = tuple(facts.find(about, "dataset.sha256", str) for about in (then, now))
    if shas[0] != shas[1]:
        yield "dataset", (str(shas[0]), str(shas[1]))

"""Hold a version that was trained again from its manifest against the version itself: pure.

Three answers. ``bit-equal``: every file of the version's models has the same SHA-256. ``metric-equal``: it has
not, but every metric agrees within the tolerance (other threads, libraries or processors add floats in
another order). ``different``: neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recommender.errors import ManifestError
from recommender.locations import REPORT, SUMMARY
from recommender.manifest import File, Manifest

Answer = Literal["bit-equal", "metric-equal", "different"]

TOLERANCE = 0.01
"""Largest relative difference of a metric that still counts as equal."""

METRICS = ("recall", "ndcg", "map", "hit_rate", "coverage")
# Records of one run, with times and places in them; no part of the model.
_RECORDS = frozenset({REPORT, SUMMARY, "decision.json", "search.json"})


@dataclass(frozen=True)
class Reproduction:
    """Hold the answer and what it rests on.

    Attributes:
        answer: see the module.
        files: name -> (SHA-256 then, SHA-256 now) of every file of the version that differs; None
            where it is absent now.
        compared: how many files were compared.
        metrics: (model, metric) -> (then, now) of every metric that differs at all.
        worst: largest relative difference of a metric.
        tolerance: what was allowed.
        environment: fact -> (then, now) of versions, threads and code that differ: the usual causes.
    """

    answer: Answer
    files: dict[str, tuple[str, str | None]]
    compared: int
    metrics: dict[tuple[str, str], tuple[float, float]]
    worst: float
    tolerance: float
    environment: dict[str, tuple[str, str]]

    def lines(self) -> Iterator[str]:
        """Yield what a person reads, the answer first."""
        yield f"{self.answer}: {self._reason()}"
        for name, (was, found) in self.environment.items():
            yield f"  {name} was {was}, is {found}"
        for name in sorted(self.files):
            yield f"  file {name} differs"
        for (model, metric), (then, now) in sorted(self.metrics.items()):
            yield f"  {model} {metric} was {then:.6g}, is {now:.6g}"

    def _reason(self) -> str:
        if self.answer == "bit-equal":
            return f"all {self.compared} files of the model have the same SHA-256"
        found = f"{len(self.files)} of {self.compared} files differ, metrics by {self.worst:.2%} at most"
        return f"{found} ({self.tolerance:.2%} is allowed)"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "answer": self.answer,
            "compared": self.compared,
            "files": {name: list(pair) for name, pair in self.files.items()},
            "metrics": {f"{m}.{k}": list(pair) for (m, k), pair in self.metrics.items()},
            "worst": self.worst,
            "tolerance": self.tolerance,
            "environment": {name: list(pair) for name, pair in self.environment.items()},
        }


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
        ManifestError: the version's manifest has no metrics to compare with.
    """
    files = dict(_differing_files(version.files, candidate.files))
    pairs = dict(_metric_pairs(version.about.get("metrics"), report["models"]))
    differing = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    worst = max((_relative(*pair) for pair in differing.values()), default=0.0)
    equal: Answer = "metric-equal" if worst <= tolerance else "different"
    return Reproduction(
        answer="bit-equal" if not files else equal,
        files=files,
        compared=len(version.files.keys() - _RECORDS),
        metrics=differing,
        worst=worst,
        tolerance=tolerance,
        environment=dict(_environment(version.about, candidate.about)),
    )


def _differing_files(
    then: Mapping[str, File], now: Mapping[str, File]
) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield the version's files that came out otherwise; what newer code adds beside them is none."""
    for name in sorted(then.keys() - _RECORDS):
        found = now[name].sha256 if name in now else None
        if then[name].sha256 != found:
            yield name, (then[name].sha256, found)


def _metric_pairs(
    then: object, now: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, str], tuple[float, float]]]:
    """Yield what both reports measured of the same models; a champion is no part of the version."""
    if not isinstance(then, Mapping) or not then.keys() & now.keys():
        message = "expected metrics in the version's manifest, found none that can be compared"
        raise ManifestError(message)
    for model in sorted(then.keys() & now.keys()):
        for metric in METRICS:
            yield (model, metric), (float(then[model][metric]), float(now[model][metric]))


def _relative(then: float, now: float) -> float:
    return abs(now - then) / abs(then) if then else float("inf")


def _environment(
    then: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the facts that explain a difference: libraries, code, threads, data."""
    for name in sorted({*then.get("versions", {}), *now.get("versions", {})}):
        pair = then.get("versions", {}).get(name), now.get("versions", {}).get(name)
        if pair[0] != pair[1]:
            yield name, (str(pair[0]), str(pair[1]))
    for name in ("code_hash", "threads", "seed"):
        if then.get(name) != now.get(name):
            yield name, (str(then.get(name)), str(now.get(name)))
    shas = tuple(about.get("dataset", {}).get("sha256") for about in (then, now))
    if shas[0] != shas[1]:
        yield "dataset", (str(shas[0]), str(shas[1]))

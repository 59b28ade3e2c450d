"""The answer to a reproduction, from two manifests and two reports alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recommender.errors import ManifestError
from recommender.lineage import reproduction
from recommender.lineage.reproduction import Reproduction
from recommender.manifest import File, Manifest

FILES = {"als/user_factors.npy": "aa", "users.parquet": "bb", "summary.json": "cc"}
ALS: dict[str, Any] = {
    "recall": 0.04,
    "ndcg": 0.02,
    "novelty": 9.5,
    "popularity_bias": 0.0,
    "recall_ci": [0.03, 0.05],
    "seconds_fit": 12.5,
}
METRICS = {"als": ALS, "popularity": {**ALS, "recall": 0.03}, "champion": {"recall": 0.5}}


def sealed(files: dict[str, str], **about: Any) -> Manifest:
    return Manifest("version", {name: File(1, sha) for name, sha in files.items()}, about)


def compare(
    now: dict[str, Any],
    *,
    then: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
    about: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
) -> Reproduction:
    """Compare a version with what came of it; and what is found must be storable and readable."""
    version = sealed(FILES, metrics=METRICS if then is None else then, **about[0])
    candidate = sealed(FILES if files is None else files, **about[1])
    found = reproduction.compare(version, candidate, {"models": now})
    assert json.dumps(found.to_json(), allow_nan=False)
    assert next(found.lines()).startswith(f"{found.answer}: ")
    return found


def measured(**als: Any) -> dict[str, Any]:
    """Return a report's models with other scores of als, and no champion."""
    return {"als": {**ALS, **als}, "popularity": METRICS["popularity"]}


def test_equal_files_and_metrics_are_bit_equal() -> None:
    other_run = {**FILES, "summary.json": "dd", "report.json": "ee"}
    found = compare(measured(recall_ci=[0.0, 1.0], seconds_fit=99.0), files=other_run)
    assert (found.answer, found.compared, found.worst) == ("bit-equal", 2, 0.0)
    assert list(found.lines()) == [
        "bit-equal: all 2 files of the model have the same SHA-256, and every metric is equal"
    ]


def test_the_same_model_measured_on_other_rows_is_different() -> None:
    found = compare(measured(recall=0.05))
    assert (found.answer, found.files) == ("different", {})
    assert "all 2 files of the model have the same SHA-256" in found.reason
    assert "the model is the same and was measured differently" in found.reason


def test_equal_files_whose_metrics_differ_by_a_bit_are_metric_equal() -> None:
    found = compare(measured(recall=0.04 + 1e-12))
    assert (found.answer, found.files) == ("metric-equal", {})
    assert "measured differently" not in found.reason


@pytest.mark.parametrize("metric", ["recall", "ndcg", "novelty", "popularity_bias"])
@pytest.mark.parametrize("other_files", [True, False])
def test_every_number_of_the_report_is_compared(metric: str, other_files: bool) -> None:
    files = {**FILES, "users.parquet": "other"} if other_files else FILES
    found = compare(measured(**{metric: ALS[metric] + 1}), files=files)
    assert found.answer == "different"
    assert list(found.metrics) == [("als", metric)]


def test_a_model_that_is_not_measured_now_is_named() -> None:
    found = compare({"als": ALS, "content": ALS})  # what newer code adds is no difference
    assert (found.answer, found.missing) == ("different", {"popularity": "now"})
    assert "measured only once: popularity" in found.reason
    assert "  popularity was not measured now, only then" in list(found.lines())


def test_a_metric_that_one_report_lacks_is_named() -> None:
    then = {"als": {"recall": 0.04, "ndcg": 0.02}, "popularity": {"recall": 0.03, "novelty": None}}
    now = {
        "als": {"recall": 0.04, "ndcg": None, "coverage": 0.5},  # coverage: of newer code
        "popularity": {"recall": 0.03, "ndcg": 0.01},
    }
    found = compare(now, then=then)
    assert (found.answer, found.metrics) == ("different", {})
    assert found.missing == {"als.ndcg": "now", "popularity.ndcg": "then"}
    assert "  popularity.ndcg was not measured then, only now" in list(found.lines())
    assert found.to_json()["missing"] == found.missing


def test_a_difference_is_a_share_of_the_larger_number() -> None:
    assert compare(measured(popularity_bias=1e-9)).worst == 1.0  # it was 0
    assert compare(measured(novelty=10.0)).worst == pytest.approx(0.05)
    assert compare(measured(novelty=-9.5)).worst == 2.0
    assert compare(measured(popularity_bias=-0.0)).worst == 0.0


@pytest.mark.parametrize("files", [{}, {"summary.json": "cc", "decision.json": "dd"}])
def test_a_version_without_a_model_is_refused(files: dict[str, str]) -> None:
    version = sealed(files, metrics=METRICS)
    with pytest.raises(ManifestError, match=r"expected files of a model .* found none: .* make a"):
        reproduction.require_comparable(version)
    with pytest.raises(ManifestError, match="expected files of a model"):
        reproduction.compare(version, sealed(FILES), {"models": measured()})


@pytest.mark.parametrize(
    "metrics", [None, "good", {}, {"champion": {"recall": 0.5}}, {"als": {"seconds_fit": 12.5}}]
)
def test_a_version_without_metrics_is_refused(metrics: Any) -> None:
    version = sealed(FILES, metrics=metrics)
    with pytest.raises(ManifestError, match="expected metrics"):
        reproduction.require_comparable(version)
    with pytest.raises(ManifestError, match="expected metrics"):
        reproduction.compare(version, sealed(FILES), {"models": measured()})


@pytest.mark.parametrize(
    ("then", "now", "is_named"),
    [
        ("fe64", "0174", True),
        ("package:fe64", "package:0174", True),
        ("package:fe64", "package:fe64", False),
        (
            "fe64",
            "package:0174",
            False,
        ),  # of a cluster, and of this machine
        ("package:fe64", "0174", False),
        (None, "package:0174", False),
    ],
)
def test_code_is_named_only_where_its_hashes_can_be_compared(
    then: str | None, now: str, is_named: bool
) -> None:
    found = compare(measured(), about=({"code_hash": then}, {"code_hash": now}))
    assert found.environment == ({"code_hash": (then, now)} if is_named else {})


def test_the_usual_causes_are_named_even_of_a_manifest_that_notes_little() -> None:
    now = {"versions": {"numpy": "2.4"}, "threads": 2, "dataset": {"sha256": "ab"}}
    found = compare(measured(), about=({"versions": None, "dataset": None}, now))
    assert found.environment == {
        "numpy": ("None", "2.4"),
        "threads": ("None", "2"),
        "dataset": ("None", "ab"),
    }

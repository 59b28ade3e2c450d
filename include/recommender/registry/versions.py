"""Build an immutable published version: the candidate that was measured, its report, the verdict.

A version's manifest is written last, so a version that a crash left unfinished has none, and the
same run simply builds it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recommender import manifest, storage
from recommender.errors import ConflictError, ManifestError, ReportError
from recommender.gate import Decision, MalformedReportError, read_evidence
from recommender.locations import MANIFEST, REPORT, join
from recommender.manifest import File, Manifest

KIND = "version"
DECISION = "decision.json"
_THREADS = 8  # server-side copies wait on S3, not on this machine


def version_id(decision: Decision, candidate_uri: str) -> str:
    """Return ``<snapshot>-<8 hex>``, the hex from the run's key and the model's content.

    The same run and model give the same id, so a retry meets its own work, and a whole run that is
    repeated (training is repeatable) meets the version that it has published before.
    """
    attempt, files = decision.attempt, manifest.read(candidate_uri, "candidate").files
    return _identity(attempt.snapshot.isoformat(), attempt.run_key, files)


def check_identity(version: str, sealed: Manifest, uri: str) -> None:
    """Check that a manifest is the one of the version whose directory it lies in.

    Raises:
        ManifestError: it belongs to another version, copied or left here.
    """
    about = sealed.about
    found = _identity(str(about.get("snapshot")), str(about.get("run_key")), sealed.files)
    if found != version:
        message = (
            f"{join(uri, MANIFEST)}: expected the manifest of {version}, found that of {found}"
        )
        raise ManifestError(message)


def _identity(snapshot: str, run_key: str, files: Mapping[str, File]) -> str:
    """Hash the model's files; JSON beside them tells of a fit or a verdict (seconds, dates)."""
    model = (name for name in sorted(files) if "/" in name or not name.endswith(".json"))
    content = "\n".join(f"{name} {files[name].sha256}" for name in model)
    digest = hashlib.sha256(f"{run_key}\n{content}".encode()).hexdigest()
    return f"{snapshot}-{digest[:8]}"


def ensure_version(uri: str, decision: Decision, candidate_uri: str, report_uri: str) -> str:
    """Write the version unless it is there, verify it, and return its manifest's SHA-256.

    Args:
        uri: directory of the version.
        decision: the verdict that publishes it.
        candidate_uri: the candidate, checked against its manifest before a byte is copied.
        report_uri: the report, checked to be the one decided on and about this candidate.

    Raises:
        ManifestError: the candidate, the report or the version is damaged.
        ReportError: the report is another one than the decision rests on, or this candidate has
            not been loaded and asked.
    """
    if not storage.exists(join(uri, MANIFEST)):
        candidate = manifest.verify(candidate_uri, "candidate")
        candidate_sha256 = storage.sha256(join(candidate_uri, MANIFEST))
        report = _read_report(decision, report_uri, candidate_sha256)
        _check_verified(decision, candidate_sha256)
        _copy_files(candidate, candidate_uri, report_uri, uri)
        verdict = _write_once(join(uri, DECISION), decision.to_json())["verdict"]
        about = candidate.about | {
            "recommender": decision.attempt.recommender,
            "snapshot": decision.attempt.snapshot.isoformat(),
            "run_key": decision.attempt.run_key,
            "candidate_manifest_sha256": candidate_sha256,
            "verdict": verdict,
            "metrics": report["models"],
            "lineage": report["lineage"],
            "cost": decision.to_json()["cost"],  # with the ids of the clusters that it went to
        }
        sealed = Manifest(KIND, candidate.files | _added_files(uri), about)
        _check_sizes(uri, sealed)
        _write_once(join(uri, MANIFEST), sealed.to_json())
    found = manifest.read(uri, KIND)
    _check_sizes(uri, found)
    check_identity(uri.rsplit("/", 1)[-1], found, uri)
    return storage.sha256(join(uri, MANIFEST))


def _check_verified(decision: Decision, candidate_sha256: str) -> None:
    """Refuse what has not been loaded as a reader loads it, or did not serve as it should."""
    loaded = decision.verification
    if loaded is None or loaded.candidate_sha256 != candidate_sha256:
        found = loaded.candidate_sha256 if loaded else "none"
        message = (
            f"expected a verification of the candidate with manifest SHA-256 {candidate_sha256}, "
            f"found {found}: run the job verify and decide again"
        )
        raise ReportError(message)
    if loaded.findings:
        message = f"the candidate must not be served: {' '.join(loaded.findings)}"
        raise ReportError(message)


def _read_report(decision: Decision, report_uri: str, candidate_sha256: str) -> dict[str, Any]:
    """Read the report and check that it was decided on and that it measured this candidate."""
    manifest.verify(report_uri, "report")
    uri = join(report_uri, REPORT)
    report: dict[str, Any] = storage.read_json(uri)
    try:
        evidence = read_evidence(report, decision.policy, decision.attempt.k)
    except MalformedReportError as error:
        message = f"{uri} cannot be the report that was decided on: {error}"
        raise ReportError(message) from error
    if evidence != decision.evidence:
        message = f"{uri} is not the report that was decided on: its numbers differ; decide again"
        raise ReportError(message)
    measured = evidence.candidate_sha256
    if measured != candidate_sha256:
        message = (
            f"{uri} measured the candidate with manifest SHA-256 {measured}, the one to publish "
            f"has {candidate_sha256}: evaluate it first. Only what was measured is published."
        )
        raise ReportError(message)
    return report


def _copy_files(candidate: Manifest, candidate_uri: str, report_uri: str, uri: str) -> None:
    if taken := {REPORT, DECISION} & candidate.files.keys():
        message = f"expected no {', '.join(sorted(taken))} in {candidate_uri}: the version adds it"
        raise ManifestError(message)
    pairs = [(join(candidate_uri, name), join(uri, name)) for name in candidate.files]
    pairs.append((join(report_uri, REPORT), join(uri, REPORT)))
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda pair: storage.copy(*pair), pairs))


def _added_files(uri: str) -> dict[str, File]:
    """State what the version holds beside the candidate's files."""
    added = {name: storage.read(join(uri, name)).data for name in (REPORT, DECISION)}
    return {n: File(len(data), hashlib.sha256(data).hexdigest()) for n, data in added.items()}


def _check_sizes(uri: str, expected: Manifest) -> None:
    """Check that every copy arrived whole.

    Sizes are enough: the candidate's hashes were checked a moment ago, S3 checks its own copies,
    and whoever loads the version hashes it again. Hashing here would read the model twice.
    """
    prefix = uri.rstrip("/") + "/"
    found = {file.uri.removeprefix(prefix): file.size for file in storage.list_files(uri)}
    for name, file in expected.files.items():
        if found.get(name) != file.size:
            size = f"{found[name]} bytes" if name in found else "no such file"
            message = (
                f"{prefix}{name}: expected {file.size} bytes, found {size}. "
                f"Delete {prefix} and publish again."
            )
            raise ManifestError(message)


def _write_once(uri: str, document: dict[str, Any]) -> dict[str, Any]:
    """Write a document if none is there and return the stored one.

    Two attempts of one run may overlap (a worker that was taken for dead): whichever writes
    second must not change a file whose hash the other has put into the manifest.
    """
    try:
        storage.write_json(uri, document, if_absent=True)
    except ConflictError:
        stored: dict[str, Any] = storage.read_json(uri)
        return stored
    return document

"""Build every path of the lake, the work area and the model store: written once, here.

A location is a URI: ``s3://bucket/prefix`` or a local directory; both behave alike.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass

MANIFEST = "manifest.json"
PROFILE = "profile.json"
PROBES = "probes.json"
REPORT = "report.json"
SAMPLES = "samples.json"
SEARCH = "search.json"
SUMMARY = "summary.json"
VERIFICATION = "verification.json"
CHECKS = "checks.json"
UPLOADING = "_uploading.json"
"""Of a snapshot: the note that an upload has begun; without a manifest it has not ended."""

ITEMS = "items"
"""Of a snapshot: the folder of the items' metadata, beside the raw files."""

ITEMS_METADATA = "items_metadata"
"""Of a dataset: the table of title, category, brand and price."""


def join(base: str, *parts: str) -> str:
    """Join a URI and path parts with single slashes."""
    return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])


def run_key(run_id: str) -> str:
    """Turn an Airflow run id into one path segment: readable, and unique by a hash of the id.

    The hash keeps ``a:b`` and ``a_b`` apart once both are reduced to safe characters.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", run_id).strip("-")[:80]
    return f"{safe}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Run:
    """Hold the directories that one run writes; no other run writes below ``root``."""

    root: str

    @property
    def dataset(self) -> str:
        """Return where preprocessing writes."""
        return join(self.root, "dataset")

    @property
    def quarantine(self) -> str:
        """Return where lines that could not be read are kept."""
        return join(self.root, "quarantine")

    @property
    def checks(self) -> str:
        """Return where the data checks before training are recorded."""
        return join(self.root, "checks")

    @property
    def candidate(self) -> str:
        """Return where training writes the model that may be promoted."""
        return join(self.root, "candidate")

    @property
    def study(self) -> str:
        """Return where the search keeps its trials while it runs."""
        return join(self.root, "study")

    @property
    def report(self) -> str:
        """Return where the evaluation writes."""
        return join(self.root, "report")

    @property
    def verification(self) -> str:
        """Return where the test of the loaded candidate writes."""
        return join(self.root, "verification")

    @property
    def page(self) -> str:
        """Return where the page that tells the run to a person is written."""
        return join(self.root, "report.html")


@dataclass(frozen=True)
class Locations:
    """Know the layout below the three roots: lake (raw), work (runs), models (published)."""

    lake: str
    work: str
    models: str

    def snapshots(self, dataset: str) -> str:
        """Return the parent of all dated snapshots of a dataset."""
        return join(self.lake, "snapshots", dataset)

    def snapshot(self, dataset: str, date: dt.date) -> str:
        """Return the immutable raw files of one date."""
        return join(self.snapshots(dataset), date.isoformat())

    def code(self, content_hash: str) -> str:
        """Return the staged code of one content hash."""
        return join(self.work, "code", content_hash)

    def run(self, recommender: str, snapshot: dt.date, key: str) -> Run:
        """Return the directories of one run over one snapshot."""
        return Run(join(self.work, "runs", recommender, snapshot.isoformat(), key))

    @property
    def emr_logs(self) -> str:
        """Return the LogUri given to EMR."""
        return join(self.work, "emr-logs") + "/"

    def versions(self, recommender: str) -> str:
        """Return the parent of all published versions."""
        return join(self.models, recommender, "versions")

    def version(self, recommender: str, version: str) -> str:
        """Return one immutable published version."""
        return join(self.versions(recommender), version)

    def champion(self, recommender: str) -> str:
        """Return the one object that changes: the pointer to the version in use."""
        return join(self.models, recommender, "champion.json")

    def champion_record(self, recommender: str, sequence: int) -> str:
        """Return one record of the pointer's history: what ``champion.json`` held."""
        return join(self.models, recommender, "champions", f"{sequence:08}.json")

    def tombstone(self, recommender: str, version: str) -> str:
        """Return the record of a version that has been pruned, or is about to be."""
        return join(self.models, recommender, "pruned", f"{version}.json")

    def recommendations(self, recommender: str) -> str:
        """Return the parent of all batch recommendations."""
        return join(self.models, recommender, "recommendations")

    def recommendation_run(self, recommender: str, key: str) -> str:
        """Return where one run writes its lists."""
        return join(self.recommendations(recommender), "runs", key)

    def latest_recommendations(self, recommender: str) -> str:
        """Return the pointer to the newest complete lists; changed only by conditional write."""
        return join(self.recommendations(recommender), "latest.json")

    def setting(self, recommender: str) -> str:
        """Return the result of the last wide search; changed only by conditional write."""
        return join(self.models, recommender, "settings.json")

    def decisions(self, recommender: str) -> str:
        """Return the parent of all verdicts."""
        return join(self.models, recommender, "decisions")

    def decision(self, recommender: str, snapshot: dt.date, key: str) -> str:
        """Return the record of one verdict."""
        return join(self.decisions(recommender), snapshot.isoformat(), f"{key}.json")

"""What the tests of whole runs know of the embedded AWS and of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mypy_boto3_emr import EMRClient

from recommender import storage
from recommender.locations import Locations, join, run_key

LOCATIONS = Locations("s3://recsys-lake", "s3://recsys-work", "s3://recsys-models")


@dataclass(frozen=True)
class Cloud:
    """The embedded AWS of a test session and the configuration that runs on it."""

    aws: dict[str, str]
    config: Path
    emr: EMRClient

    def clusters_of(self, run_id: str) -> list[dict[str, Any]]:
        """Return every cluster that carries a DAG run's tag."""
        found = []
        for page in self.emr.get_paginator("list_clusters").paginate():
            for summary in page["Clusters"]:
                cluster = self.emr.describe_cluster(ClusterId=summary["Id"])["Cluster"]
                tags = {tag["Key"]: tag["Value"] for tag in cluster["Tags"]}
                if tags.get("recsys:run") == run_id:
                    found.append(dict(cluster))
        return found


@dataclass(frozen=True)
class Result:
    """What one ``airflow dags test`` came to."""

    succeeded: bool
    run_id: str
    log: str

    def decision(self, recommender: str, snapshot: str) -> dict[str, Any]:
        uri = join(LOCATIONS.decisions(recommender), snapshot, f"{run_key(self.run_id)}.json")
        document: dict[str, Any] = storage.read_json(uri)
        return document

"""Read from S3 what the page is made of; a document that is not there is left out, never guessed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from recommender import storage
from recommender.columns import ITEM_ID
from recommender.errors import ManifestError, NotFoundError, StorageError
from recommender.gate import Attempt, Decision
from recommender.lineage import predecessor
from recommender.locations import MANIFEST, PROFILE, REPORT, Locations, Run, join
from recommender.registry import pointer
from recommender.registry.versions import version_id
from recommender.reporting.material import Document, Item, Material

_log = logging.getLogger(__name__)
_METADATA = "items_metadata"
_MOVES = 50  # of the pointer, between a run's publication and its page a minute later: ample


def gather(locations: Locations, decision: Decision) -> Material:
    """Read everything that a decided run has left.

    Raises:
        StorageError: S3 refused or could not be reached; a part that is only absent does not raise.
    """
    attempt = decision.attempt
    run = locations.run(attempt.recommender, attempt.snapshot, attempt.run_key)
    checks = _document(join(run.root, "checks", "checks.json"))
    samples = _json(join(run.report, "samples.json"))
    earlier_snapshot, earlier = _earlier(locations, decision, checks)
    report = _document(join(run.report, REPORT))
    published = _published(locations, decision, run)
    return Material(
        decision=decision,
        report=report,
        search=_document(join(run.candidate, "search.json")),
        profile=_document(join(run.dataset, PROFILE)),
        earlier=earlier,
        earlier_snapshot=earlier_snapshot,
        checks=checks,
        samples=samples if isinstance(samples, list) else None,
        items=_items(join(run.dataset, _METADATA), samples),
        published=published,
        became_champion=published is not None and _became_champion(locations, attempt, published),
        places=_places(locations, decision, run),
    )


def read_items(uri: str, wanted: set[str]) -> dict[str, Item]:
    """Read what a person calls some items; a dataset without metadata gives none.

    Reads the wanted rows and columns only: a catalogue may have millions of items.
    """
    if not wanted or not storage.list_files(uri):
        return {}
    import pyarrow.parquet as pq

    found: dict[str, Item] = {}
    columns = (ITEM_ID, "title", "category", "brand")
    with storage.local_copy(uri) as directory:
        for file in sorted(directory.rglob("*.parquet")):
            there = [name for name in columns if name in pq.read_schema(file).names]
            rows = pq.read_table(
                file, columns=there, filters=[(ITEM_ID, "in", wanted)], partitioning=None
            )
            for row in rows.to_pylist():
                item = str(row.pop(ITEM_ID))
                found[item] = Item(**row)
    return found


def _items(uri: str, samples: Any) -> dict[str, Item]:  # noqa: ANN401 - whatever the file holds
    """Name the items that samples show; what cannot be read is left out: ids say it, too."""
    try:
        return read_items(uri, _shown_items(samples))
    except (AttributeError, TypeError, ValueError) as error:  # Arrow's is one of the last
        _log.warning("items stay without names, %s or the samples cannot be read: %s", uri, error)
        return {}


def _shown_items(samples: Any) -> set[str]:  # noqa: ANN401 - whatever the file holds
    if not isinstance(samples, list):
        return set()
    names: set[str] = set()
    for user in samples:
        for part in ("history", "held_out"):
            names.update(user.get(part) or [])
        for items in (user.get("lists") or {}).values():
            names.update(items)
    return names


def _earlier(
    locations: Locations, decision: Decision, checks: Document | None
) -> tuple[str | None, Document | None]:
    """Return the profile to compare with: what the checks compared with, else what they would."""
    compared = (checks or {}).get("compared_with")
    if isinstance(compared, Mapping) and compared.get("profile"):
        return str(compared.get("snapshot")), _document(str(compared["profile"]))
    attempt = decision.attempt
    try:
        found = predecessor.find(locations, attempt.recommender, attempt.snapshot, attempt.run_key)
    except StorageError as error:
        _log.warning("the profile is compared with none: %s", error)
        found = None
    return (found.snapshot.isoformat(), found.profile) if found else (None, None)


def _became_champion(locations: Locations, attempt: Attempt, version: str) -> bool:
    try:
        records = pointer.history(locations, attempt.recommender, last=_MOVES)
    except ManifestError as error:
        _log.warning("whether %s became the champion is not known: %s", version, error)
        return False
    return version in {record.version for record in records}


def _published(locations: Locations, decision: Decision, run: Run) -> str | None:
    if not decision.acts or not storage.exists(join(run.candidate, MANIFEST)):
        return None
    version = version_id(decision, run.candidate)
    uri = join(locations.version(decision.attempt.recommender, version), MANIFEST)
    return version if storage.exists(uri) else None


def _places(locations: Locations, decision: Decision, run: Run) -> dict[str, str]:
    attempt = decision.attempt
    return {
        "dataset": run.dataset,
        "candidate": run.candidate,
        "report": run.report,
        "decision": locations.decision(attempt.recommender, attempt.snapshot, attempt.run_key),
        "this page": run.page,
    }


def _document(uri: str) -> Document | None:
    found = _json(uri)
    return found if isinstance(found, dict) else None


def _json(uri: str) -> Any:  # noqa: ANN401 - JSON is any value
    """Read a JSON object; None where there is none, or where it is no JSON."""
    try:
        return json.loads(storage.read(uri).data)
    except NotFoundError:
        return None
    except ValueError:
        _log.warning("%s is not JSON: left out of the page", uri)
        return None

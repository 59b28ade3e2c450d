"""Read from S3 what the page is made of; a document that is not there is left out, never guessed."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from recommender import storage
from recommender.columns import ITEM_ID
from recommender.errors import NotFoundError
from recommender.gate import Decision
from recommender.locations import MANIFEST, PROFILE, REPORT, Locations, Run, join
from recommender.registry.versions import version_id
from recommender.reporting.material import Document, Item, Material

_log = logging.getLogger(__name__)
_METADATA = "items_metadata"


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
    return Material(
        decision=decision,
        report=report,
        search=_document(join(run.candidate, "search.json")),
        profile=_document(join(run.dataset, PROFILE)),
        earlier=earlier,
        earlier_snapshot=earlier_snapshot,
        checks=checks,
        samples=samples if isinstance(samples, list) else None,
        items=read_items(join(run.dataset, _METADATA), _shown_items(samples)),
        published=_published(locations, decision, run),
        places=_places(locations, decision, run),
    )


def read_items(uri: str, wanted: set[str]) -> dict[str, Item]:
    """Read what a person calls some items; a dataset without metadata gives none.

    Reads the wanted rows and four columns only: a catalogue may have millions of items.
    """
    if not wanted or not storage.list_files(uri):
        return {}
    import pyarrow.parquet as pq

    found: dict[str, Item] = {}
    columns = (ITEM_ID, "title", "category", "brand", "price")
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
    """Return the profile to compare with: what the checks compared with, else the newest before."""
    compared = (checks or {}).get("compared_with")
    if isinstance(compared, Mapping) and compared.get("profile"):
        return str(compared.get("snapshot")), _document(str(compared["profile"]))
    attempt = decision.attempt
    root = locations.decisions(attempt.recommender)
    for date in sorted(_dates(storage.list_children(root)), reverse=True):
        if date < attempt.snapshot:
            for key in storage.list_children(join(root, date.isoformat())):
                run = locations.run(attempt.recommender, date, key.removesuffix(".json"))
                if found := _document(join(run.dataset, PROFILE)):
                    return date.isoformat(), found
    return None, None


def _dates(names: Iterable[str]) -> list[dt.date]:
    dates = []
    for name in names:
        try:
            dates.append(dt.date.fromisoformat(name))
        except ValueError:  # not ours
            continue
    return dates


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

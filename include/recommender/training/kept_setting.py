"""Keep the result of a wide search for the runs that follow it. Standard library only.

``<models>/<recommender>/settings.json`` holds the setting, what was searched and where it comes
from. A run uses it only if it answers the run's own question: the same space and K, data that is
older than the run's own, and not older than ``every_days``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recommender import storage
from recommender.errors import ConflictError, NotFoundError

_log = logging.getLogger(__name__)
FORMAT = 1
_DAY = 86_400
_ATTEMPTS = 3  # each loss means that another run has written meanwhile


@dataclass(frozen=True)
class Question:
    """State what a search answers; another question needs another search.

    Attributes:
        space: ranges and alternatives, and what is fixed beside them; JSON values only.
        k: length of the lists that recall is measured on.
        fit_until: end of the rows that the run may know, seconds since the epoch.
    """

    space: dict[str, Any]
    k: int
    fit_until: int


def document(
    question: Question, setting: Mapping[str, Any], recall: float, lineage: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is kept of a wide search.

    Args:
        question: what was searched.
        setting: the best setting of ALS.
        recall: its Recall@K on the validation window.
        lineage: dataset, code, versions and seed of the search.
    """
    return {
        "format": FORMAT,
        "setting": dict(setting),
        "validation_recall": recall,
        "space": question.space,
        "k": question.k,
        "fit_until": question.fit_until,
        "lineage": dict(lineage),
    }


def read(uri: str) -> dict[str, Any] | None:
    """Read the kept setting; None if there is none, or none that this code can read."""
    try:
        found = json.loads(storage.read(uri).data)
    except NotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        _log.warning(f"{uri} is no setting of format {FORMAT}: it is not used")
        return None
    return found


def why_not(kept: Mapping[str, Any] | None, question: Question, every_days: float) -> str | None:
    """Say why a wide search is due, or return None if the kept setting serves."""
    if kept is None:
        return "no setting is kept yet"
    if kept["space"] != question.space or kept["k"] != question.k:
        return "the kept setting was searched in another space or for another K"
    age = (question.fit_until - int(kept["fit_until"])) / _DAY
    if age < 0:
        # Settings chosen on days that this run holds out would carry them into it.
        return "the kept setting comes from later data"
    if age >= every_days:
        return f"the kept setting is {age:.0f} days old, every {every_days:g} it is searched again"
    return None


def write(uri: str, found: Mapping[str, Any]) -> bool:
    """Keep a wide search's result unless one of later data is there; return whether it was kept.

    Raises:
        ConflictError: other runs kept writing.
    """
    for _ in range(_ATTEMPTS):
        kept, etag = _stored(uri)
        if kept is not None and int(kept["fit_until"]) > int(found["fit_until"]):
            _log.info("the kept setting comes from later data and stays")
            return False
        try:
            storage.write_json(uri, dict(found), if_absent=etag is None, if_match=etag)
        except (ConflictError, NotFoundError):
            continue
        _log.info("setting of the wide search kept at %s", uri)
        return True
    message = f"{uri} kept changing through {_ATTEMPTS} attempts; clear this task"
    raise ConflictError(message)


def _stored(uri: str) -> tuple[dict[str, Any] | None, str | None]:
    """Return the readable document, if it is one, and the ETag of whatever is there."""
    try:
        etag = storage.read(uri).etag
    except NotFoundError:
        return None, None
    return read(uri), etag

"""Tell whether training would only repeat what made the champion.

Two trainings are one when the data, the code and the settings are equal:

- data: the rows and ids that preprocessing wrote, by the SHA-256 of the files. Raw files are not
  compared: equal rows may come in other files, and of a snapshot without a manifest nobody knows
  the content without reading it. Another date alone makes no other data.
- code: the hash of everything a cluster gets (package, configuration, pinned libraries).
- settings: K, the search budget and the engine, which a run may override by Params.

A run that goes on from the champion's factors would fit the same rows a little further: no reason to
start a cluster either.

Whatever is unknown counts as different: to train once too often costs a cluster, to leave it out
costs a night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recommender.manifest import Manifest


@dataclass(frozen=True)
class Training:
    """State what makes a training what it is; None where it is not known.

    Attributes:
        data: ``content`` of the dataset.
        code: hash of the staged code.
        k: length of the measured lists.
        trials: settings tried in the search; 0 for none.
        engine: what fits ALS.
    """

    data: str | None
    code: str | None
    k: int | None
    trials: int | None
    engine: str | None

    def difference(self, other: Training) -> str | None:
        """Name the first thing in which two trainings differ or that is unknown; None if equal."""
        for name, mine in vars(self).items():
            if mine is None or mine != getattr(other, name):
                return name
        return None


def content(dataset: Manifest) -> str:
    """Hash what a dataset's tables hold: folder and SHA-256 of every file, whatever their names.

    The profile is left out: it tells also how long the job took.
    """
    tables = sorted((n.split("/")[0], f.sha256) for n, f in dataset.files.items() if "/" in n)
    return hashlib.sha256("\n".join(map(" ".join, tables)).encode()).hexdigest()


def of_version(about: Mapping[str, Any]) -> Training:
    """Read out of a published version's manifest what it was trained on."""
    lineage = about.get("lineage") or {}
    settings = about.get("settings") or {}
    search = settings.get("search", ...)
    trials = 0 if search is None else None if search is ... else search.get("trials")
    return Training(
        data=(lineage.get("dataset") or {}).get("content"),
        code=about.get("code_hash"),
        k=(lineage.get("settings") or {}).get("k"),
        trials=trials,
        engine=(about.get("engine") or {}).get("engine"),
    )

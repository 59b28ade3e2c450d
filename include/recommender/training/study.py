"""Store a search's trials in the run's own prefix, so that a retried step goes on and not anew."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recommender import storage
from recommender.errors import NotFoundError
from recommender.locations import join
from recommender.training.search import Trial

_log = logging.getLogger(__name__)
TRIALS = "trials.json"


def fingerprint(**facts: Any) -> str:  # noqa: ANN401 - JSON values
    """Return the hash of all that decides a search's trials."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Study:
    """Know where the trials of one search are.

    Attributes:
        uri: a directory of the run; None stores nothing.
        key: the search's fingerprint; trials of another search are not taken up.
    """

    uri: str | None
    key: str

    def done(self) -> list[Trial]:
        """Return the trials that an interrupted attempt has left."""
        if self.uri is None:
            return []
        try:
            stored = json.loads(storage.read(join(self.uri, TRIALS)).data)
        except NotFoundError:
            return []
        if stored.get("key") != self.key:
            _log.warning(f"the trials at {self.uri} are of another search: starting anew")
            return []
        trials = [Trial.from_json(document) for document in stored["trials"]]
        _log.info(f"search: {len(trials)} trials of an earlier attempt are taken up")
        return trials

    def keep(self, trials: Sequence[Trial]) -> None:
        """Store all trials so far; the object is replaced whole."""
        if self.uri is not None:
            stored = {"key": self.key, "trials": [trial.to_json() for trial in trials]}
            storage.write_json(join(self.uri, TRIALS), stored)

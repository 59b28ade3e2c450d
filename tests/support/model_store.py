"""A small model store whose versions are fitted by the real ALS."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recommender import artifact, history, interactions, storage, titles
from recommender.artifact import ALS, POPULARITY, Candidate
from recommender.config import Als as Settings
from recommender.gate import ChampionRef
from recommender.interactions import SECONDS_PER_DAY, Interactions
from recommender.locations import MANIFEST, Locations, join
from recommender.models import Als, Popularity

NAME = "shop"
USERS, ITEMS = 60, 40
SETTINGS = Settings(
    factors=8, alpha=15, regularization=5, iterations=5, half_life_days=30, user_balance=0.3
)


def ids(kind: str, count: int) -> pa.StringArray:
    """Return ids that are in order of index, as preprocessing writes them."""
    return pa.array([f"{kind}{index:03d}" for index in range(count)])


def rows(seed: int = 0) -> Interactions:
    """Return interactions of users who mostly take items of their own half."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, USERS, 600)
    item = (rng.integers(0, ITEMS // 2, 600) * 2 + user % 2).astype(np.int32)
    return interactions.from_columns(
        user.astype(np.int32),
        item,
        rng.choice([1, 2], 600).astype(np.float32),
        rng.integers(0, 90 * SECONDS_PER_DAY, 600),
        (USERS, ITEMS),
    )


def als(seed: int = 0) -> Als:
    """Return the model that ``write_model`` writes for the same seed."""
    return Als(SETTINGS, seed, threads=1).fit(rows(seed))


def write_model(
    uri: str, kind: str, seed: int = 0, *, keep_history: bool = True, titled: bool = False
) -> None:
    """Fit a model and write it as a sealed directory."""
    fitted = rows(seed)
    models = {ALS: als(seed), POPULARITY: Popularity().fit(fitted)}
    candidate = Candidate(models, ids("u", USERS), ids("i", ITEMS), {"seed": seed})
    with tempfile.TemporaryDirectory() as name:
        artifact.write(Path(name), candidate)
        if keep_history:
            history.write(Path(name), history.of_interactions(fitted))
        if titled:
            titles.write(Path(name), pa.array([f"Title {item}" for item in range(ITEMS)]))
        artifact.publish(Path(name), uri, kind, candidate.about)


@dataclass(frozen=True)
class Store:
    """The model store of the tests."""

    models: str

    @property
    def pointer(self) -> str:
        return Locations("", "", self.models).champion(NAME)

    def version(self, version: str) -> str:
        return Locations("", "", self.models).version(NAME, version)

    def publish(self, version: str, seed: int = 0, **changes: bool) -> None:
        write_model(self.version(version), "version", seed, **changes)

    def promote(self, version: str) -> None:
        uri = self.version(version)
        champion = ChampionRef(
            version=version,
            snapshot=dt.date(2024, 1, 31),
            uri=uri,
            manifest_sha256=storage.sha256(join(uri, MANIFEST)),
            run_key="run",
            decided_at="2024-02-01T00:00:00+00:00",
            previous=None,
        )
        storage.write(self.pointer, json.dumps(champion.to_json()).encode())

"""The evaluation's own report passes the gate's door: the two sides agree on every name."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recommender.config import Evaluate
from recommender.evaluation.leaderboard import evaluate
from recommender.gate import Attempt, ChampionRef, Policy, decide
from recommender.ranking import Recommendations

USERS, ITEMS, K = 40, 30, 5
POLICY = Policy(min_users=10, min_held_out=10)
CHAMPION = ChampionRef(
    version="2017-11-30-0a1b2c3d",
    snapshot=dt.date(2017, 11, 30),
    uri="models/shop/versions/2017-11-30-0a1b2c3d",
    manifest_sha256="00" * 32,
    run_key="a",
    decided_at="2017-12-01T00:00:00+00:00",
    previous=None,
)


@dataclass
class Fixed:
    """Recommend to user u the K items from u + offset on, round the catalogue."""

    offset: int

    def recommend(
        self, users: np.ndarray[Any, Any], k: int, seen: csr_matrix | None = None
    ) -> Recommendations:
        items = (users[:, None] + self.offset + np.arange(k)) % ITEMS
        scores = np.tile(np.arange(k, 0, -1, dtype=np.float32), (len(users), 1))
        return Recommendations(items.astype(np.int32), scores)


def pairs(shift: int, width: int) -> csr_matrix:
    """User u has the items from u + shift on."""
    rows = np.repeat(np.arange(USERS), width)
    columns = (rows + shift + np.tile(np.arange(width), USERS)) % ITEMS
    return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (USERS, ITEMS))


def report(*, champion: bool, baselines: int) -> dict[str, Any]:
    # Held out are 10 to 13: als finds all four, an offset of 12 two, one of 20 none.
    models = {"als": Fixed(10), "popularity": Fixed(baselines), "popularity_recent": Fixed(20)}
    if champion:
        models["champion"] = Fixed(10)
    settings = Evaluate(k=K, bootstrap_samples=200)
    document = evaluate(models, pairs(0, 3), pairs(10, 4), settings)
    version = {"version": CHAMPION.version, "saw_held_out": False} if champion else None
    lineage = {"candidate": {"sha256": "11" * 32}, "champion": version}
    stored: dict[str, Any] = json.loads(json.dumps({**document, "lineage": lineage}))
    return stored


@pytest.mark.parametrize("baselines", [12, 20])  # 20: baselines that find nothing at all
@pytest.mark.parametrize("champion", [False, True])
def test_the_evaluations_report_is_promoted_as_it_is(champion: bool, baselines: int) -> None:
    attempt = Attempt("shop", dt.date(2017, 12, 31), "b", K, dt.datetime(2018, 1, 1, tzinfo=dt.UTC))
    document = report(champion=champion, baselines=baselines)
    decision = decide(document, POLICY, attempt, CHAMPION if champion else None)
    assert decision.verdict == "promoted", decision.table()
    assert decision.evidence is not None
    assert decision.evidence.users == document["population"]["users"] == USERS
    assert decision.evidence.recall["als"] == 1.0

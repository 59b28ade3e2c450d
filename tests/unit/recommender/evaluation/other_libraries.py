"""Write what RecTools and Recommenders say of a few seeded cases: ``other_libraries.json``.

    uv run --no-project --python 3.11 --with rectools==0.19.0 --with recommenders==1.2.1 \\
        python tests/unit/recommender/evaluation/other_libraries.py

Neither can be installed beside this project (they need numpy 1), so their figures are kept with
the data they were computed from, and ``test_beyond_accuracy.py`` holds ours against them.
"""

from __future__ import annotations

import json
import random
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from recommenders.evaluation.python_evaluation import catalog_coverage, novelty
from rectools import Columns
from rectools.metrics import AvgRecPopularity, CatalogCoverage, MeanInvUserFreq

K = 5


def case(seed: int) -> dict[str, Any]:
    """Draw histories and lists, the lists shorter than K for some, and measure them."""
    draw = random.Random(seed)
    users, items = 12 + seed, 15 + 2 * seed
    weights = [1 / (1 + item) for item in range(items)]
    histories = [sorted(set(draw.choices(range(items), weights, k=6))) for _ in range(users)]
    known = sorted({item for history in histories for item in history})
    fresh = [[item for item in known if item not in history] for history in histories]
    lists = [draw.sample(unseen, draw.randint(1, K)) for unseen in fresh]
    before = pd.DataFrame(
        [(user, item) for user, history in enumerate(histories) for item in history],
        columns=[Columns.User, Columns.Item],
    )
    given = pd.DataFrame(
        [(u, item, rank) for u, one in enumerate(lists) for rank, item in enumerate(one, 1)],
        columns=[Columns.User, Columns.Item, Columns.Rank],
    )
    names = {"col_user": Columns.User, "col_item": Columns.Item}
    popularity = AvgRecPopularity(K)
    return {
        "items": items,
        "histories": histories,
        "lists": lists,
        "rectools": {
            "coverage": CatalogCoverage(K, normalize=True).calc(given, known),
            "novelty": MeanInvUserFreq(K).calc_per_user(given, before).tolist(),
            "list_popularity": popularity.calc_per_user(given, before).tolist(),
            "history_popularity": AvgRecPopularity(items)
            .calc_per_user(before.assign(**{Columns.Rank: 1}), before)
            .tolist(),
        },
        "recommenders": {
            "coverage": catalog_coverage(before, given, **names),
            "novelty": float(novelty(before, given, **names)),
        },
    }


if __name__ == "__main__":
    found = {
        "versions": {name: metadata.version(name) for name in ("rectools", "recommenders")},
        "cases": [case(seed) for seed in range(4)],
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found) + "\n", encoding="utf-8")

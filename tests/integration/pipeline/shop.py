"""A small made-up shop whose customers have tastes: ALS can win here, and the tests know why."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import numpy as np
import yaml

DATASET = "shop"
SNAPSHOTS = [dt.date(2024, 1, 31), dt.date(2024, 2, 29), dt.date(2024, 3, 31)]
USERS, ITEMS, TASTES, EVENTS = 300, 160, 8, 12_000
# So small a shop scatters: two models of equal worth may differ by a tenth.
GATE = {"min_held_out": 200, "champion_tolerance": 0.3, "max_cohort_drop": 0.5}
_START = dt.datetime(2023, 10, 1, tzinfo=dt.UTC)


def events() -> list[dict[str, object]]:
    """Return purchases in order of time: four in five from the customer's own taste."""
    rng = np.random.default_rng(20240331)
    end = dt.datetime.combine(SNAPSHOTS[-1], dt.time(23, 59), dt.UTC)
    seconds = np.sort(rng.integers(0, int((end - _START).total_seconds()), EVENTS))
    users = rng.integers(0, USERS, EVENTS)
    of_taste = rng.random(EVENTS) < 0.8
    per_taste = ITEMS // TASTES
    popularity = 1.0 / np.arange(1, per_taste + 1) ** 0.5
    within = rng.choice(per_taste, EVENTS, p=popularity / popularity.sum())
    taste = np.where(of_taste, users % TASTES, rng.integers(0, TASTES, EVENTS))
    return [
        {
            "user_id": f"u{user:04d}",
            "item_id": f"i{item:04d}",
            "timestamp": (_START + dt.timedelta(seconds=int(second))).isoformat(),
        }
        for user, item, second in zip(users, taste * per_taste + within, seconds, strict=True)
    ]


def write_snapshots(folder: Path, dataset: str = DATASET, bad_share: float = 0.0) -> None:
    """Write every snapshot below a folder laid out as the lake; some lines broken if asked."""
    rows = events()
    for date in SNAPSHOTS:
        last = dt.datetime.combine(date, dt.time.max, dt.UTC).isoformat()
        lines = [json.dumps(row) for row in rows if str(row["timestamp"]) <= last]
        for n in range(int(len(lines) * bad_share)):
            lines[n * int(1 / bad_share)] = '{"user_id": "cut in the mid'
        target = folder / "snapshots" / dataset / date.isoformat() / "part-0.json.gz"
        target.parent.mkdir(parents=True)
        target.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def settings(name: str, **sections: object) -> dict[str, object]:
    """Return a recommender's configuration that runs in seconds."""
    return {
        "name": name,
        "description": "A test's recommender.",
        "dataset": DATASET,
        "schedule": "0 2 L * *",
        "preprocess": {
            "format": "events",
            "min_user_interactions": 3,
            "min_item_interactions": 3,
            "holdout_days": 14,
            "validation_days": 14,
        },
        "train": {
            "als": {"factors": 16, "alpha": 10, "regularization": 5, "iterations": 5},
            "search": {"trials": 2, "factors": [16], "max_iterations": 5},
        },
        "evaluate": {"k": 10, "bootstrap_samples": 300},
        "gate": GATE,
        **sections,
    }


def write_settings(folder: Path, *recommenders: dict[str, object]) -> None:
    """Write configuration files as the checkout's own config directory has them."""
    (folder / "recommenders").mkdir(parents=True)
    for recommender in recommenders:
        path = folder / "recommenders" / f"{recommender['name']}.yaml"
        path.write_text(yaml.safe_dump(recommender))

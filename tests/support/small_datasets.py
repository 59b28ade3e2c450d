"""Build small datasets with structure: groups of users who like groups of items."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender import interactions, manifest
from recommender.interactions import SECONDS_PER_DAY, Interactions

USERS, ITEMS, GROUPS = 120, 80, 4
DAY = SECONDS_PER_DAY
WINDOWS = {"train": (0, 80), "validation": (80, 100), "test": (100, 120)}

Build = Callable[..., str]


def draw_rows(window: str, seed: int, *, groups: int = GROUPS) -> dict[str, np.ndarray]:
    """Draw one window: nine of ten interactions stay inside the user's group of items."""
    generator = np.random.default_rng([seed, *window.encode()])
    first, last = WINDOWS[window]
    size = USERS * (12 if window == "train" else 4)
    user = generator.integers(0, USERS, size)
    inside = generator.random(size) < 0.9
    # Squared: the first items of a group are the popular ones.
    within = (generator.random(size) ** 2 * (ITEMS // groups)).astype(int)
    group = np.where(inside, user % groups, generator.integers(0, groups, size))
    pairs = np.unique(np.stack([user, within * groups + group]), axis=1)
    return {
        "user": pairs[0].astype(np.int32),
        "item": pairs[1].astype(np.int32),
        "confidence": generator.choice([1, 2], pairs.shape[1]).astype(np.float32),
        "timestamp": generator.integers(first * DAY + 1, last * DAY + 1, pairs.shape[1]),
    }


def draw_cliques(window: str) -> dict[str, np.ndarray]:
    """Draw a window in which popularity wins: a clique of heavy users hides what most want.

    A third of the users takes most of 40 items; the others take a few of 8 items, which are the
    most popular ones by users. One factor can only follow the clique.
    """
    generator = np.random.default_rng([7, *window.encode()])
    share = 0.6 if window == "train" else 0.2
    wanted = np.zeros((USERS, ITEMS))
    wanted[: USERS // 3, 8:48] = share
    wanted[USERS // 3 :, :8] = share * 0.8
    user, item = np.nonzero(generator.random(wanted.shape) < wanted)
    first, last = WINDOWS[window]
    return {
        "user": user.astype(np.int32),
        "item": item.astype(np.int32),
        "confidence": np.ones(len(user), dtype=np.float32),
        "timestamp": generator.integers(first * DAY + 1, last * DAY + 1, len(user)),
    }


@pytest.fixture
def cliques() -> Callable[[str], dict[str, np.ndarray]]:
    """Return the columns of windows in which popularity wins."""
    return draw_cliques


def in_memory(columns: dict[str, np.ndarray]) -> Interactions:
    """Return a window as the jobs hold it in memory."""
    return interactions.from_columns(
        columns["user"],
        columns["item"],
        columns["confidence"],
        columns["timestamp"],
        (USERS, ITEMS),
    )


@pytest.fixture
def clique_window() -> Callable[[str], Interactions]:
    """Return windows in which popularity wins."""
    return lambda name: in_memory(draw_cliques(name))


@pytest.fixture
def window() -> Callable[[str], Interactions]:
    """Return windows as the jobs hold them in memory."""

    return lambda name: in_memory(draw_rows(name, seed=0))


def builder(folder: Path) -> Build:
    """Return what writes sealed dataset directories below a folder, as preprocessing does."""

    def write(
        name: str = "dataset",
        seed: int = 0,
        prefix: str = "",
        shift_days: int = 0,
        **replaced: dict[str, np.ndarray],
    ) -> str:
        root = folder / name
        sizes: dict[str, Any] = {}
        for window in WINDOWS:
            columns: dict[str, Any] = replaced.get(window) or draw_rows(window, seed)
            columns["timestamp"] = columns["timestamp"] + shift_days * DAY
            _write(root / window, pa.table(columns))
            sizes[window] = {"rows": len(columns["timestamp"])}
        _write(root / "users", _ids("user", USERS, "u"))
        _write(root / "items", _ids("item", ITEMS, prefix + "i"))
        profile = {
            "fit_until": (WINDOWS["validation"][1] + shift_days) * DAY,
            "users": USERS,
            "items": ITEMS,
            "windows": sizes,
            "cold": {"validation": {"rows": 3}, "test": {"rows": 7}},
        }
        (root / "profile.json").write_text(json.dumps(profile))
        manifest.seal(str(root), "dataset", {"format": "events"})
        return str(root)

    return write


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return what writes a sealed dataset directory and returns its path."""
    return builder(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Write a recommender's configuration whose search takes a second."""
    path = tmp_path / "config.yaml"
    path.write_text(
        """
name: groups
description: Groups of users who like groups of items.
dataset: groups
train:
  threads: 1
  als: {factors: 8, alpha: 20, regularization: 5, iterations: 4}
  search: {trials: 4, factors: [4, 8], max_iterations: 8, alpha: [2, 60], penalty: [0.1, 2]}
evaluate: {k: 5, bootstrap_samples: 200}
"""
    )
    return str(path)


def _ids(kind: str, count: int, prefix: str) -> pa.Table:
    ids = [f"{prefix}{index:04d}" for index in range(count)]
    return pa.table({kind: pa.array(range(count), pa.int32()), f"{kind}_id": ids})


def _write(directory: Path, table: pa.Table) -> None:
    directory.mkdir(parents=True)
    pq.write_table(table, directory / "part-0.parquet")

"""Where nothing says who takes what, the gate refuses; where it does, the same run is promoted.

``benchmarks/false_promotions.py`` counts 200 such runs over real data.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from recommender import config as configuration
from recommender.config import Recommender
from recommender.gate import Policy
from recommender.interactions import Interactions

RUNS = 8


@pytest.fixture
def count(root: Path) -> ModuleType:
    path = root / "benchmarks" / "false_promotions.py"
    spec = importlib.util.spec_from_file_location("false_promotions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recommender(config: str, count: ModuleType) -> Recommender:
    # The drawn shop is smaller than what the default policy asks for.
    policy = Policy(min_users=50, min_held_out=100)
    loaded = configuration.load(config).model_copy(update={"gate": policy})
    found: Recommender = count.few_contenders(loaded)
    return found


def test_shuffled_items_are_refused_and_the_same_data_unshuffled_is_promoted(
    count: ModuleType,
    recommender: Recommender,
    window: Callable[[str], Interactions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = tuple(window(name) for name in ("train", "validation", "test"))
    verdicts = [count.judged(windows, recommender, seed).verdict for seed in range(RUNS)]
    assert verdicts.count("promoted") <= 1
    monkeypatch.setattr(count, "shuffled", lambda found, _: found)
    assert count.judged(windows, recommender, 0).verdict == "promoted"


def test_a_shuffle_keeps_rows_of_users_and_of_items(
    count: ModuleType, window: Callable[[str], Interactions]
) -> None:
    windows = tuple(window(name) for name in ("train", "validation", "test"))
    dealt = count.shuffled(windows, 3)
    for before, after in zip(windows, dealt, strict=True):
        # A pair dealt twice is one row, so there may be fewer; never more, and for no user more.
        assert len(after) <= len(before)
        assert (np.diff(after.indptr) <= np.diff(before.indptr)).all()
    assert not np.array_equal(dealt[0].items[:50], windows[0].items[:50])

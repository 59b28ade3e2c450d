"""Training on one machine keeps its promise about memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from recommender.interactions import Interactions
from recommender.models.als.weighted import weighted
from recommender.objective import Als

ROWS, USERS, ITEMS, FACTORS = 12_000_000, 200_000, 20_000, 32
# What one batch and the allocators keep, whatever the size; a copy of 4 bytes a row would be as much.
FIXED_MB = 40

# Peak of the address space while windows are read and the models fitted, beyond what Python and the
# libraries and a batch take: a small fit before has shown them.
MEASURED = """
import json, sys
from pathlib import Path
import numpy as np
from recommender import config, interactions
from recommender.models import Als, DecayedPopularity, Popularity
from recommender.process import peak_memory_mb

def fit(windows, shape):
    rows = interactions.read(windows, shape)
    als = Als(config.Als(factors={factors}, iterations=1, half_life_days=30, user_balance=0.2), threads=2)
    als.fit(rows)
    Popularity(recent_days=28).fit(rows)
    DecayedPopularity().fit(rows)
    return len(rows)

def resident():
    status = Path("/proc/self/status").read_text()
    return int(next(l for l in status.splitlines() if l.startswith("VmRSS")).split()[1]) / 1024

folder = Path(sys.argv[1])
fit([folder / "small"], (1000, 500))
before = resident()
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
rows = fit([folder / "train", folder / "validation"], ({users}, {items}))
print(json.dumps({{"rows": rows, "mb": peak_memory_mb() - before}}))
"""


def write(path: Path, users: int, items: int, rows: int, seed: int) -> None:
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers(0, users * items, rows))
    columns = {
        "user": pa.array((keys // items).astype(np.int32)),
        "item": pa.array((keys % items).astype(np.int32)),
        "confidence": pa.array(np.ones(len(keys), np.float32)),
        "timestamp": pa.array(rng.integers(1_500_000_000, 1_600_000_000, len(keys))),
    }
    pq.write_table(pa.table(columns), path)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_training_takes_at_most_one_and_a_half_times_matrix_plus_factors(tmp_path: Path) -> None:
    write(tmp_path / "small" / "part.parquet", 1000, 500, 200_000, 0)
    write(tmp_path / "train" / "part.parquet", USERS, ITEMS, ROWS * 3 // 4, 1)
    write(tmp_path / "validation" / "part.parquet", USERS, ITEMS, ROWS // 4, 2)
    program = MEASURED.format(factors=FACTORS, users=USERS, items=ITEMS)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = json.loads(done.stdout)
    by_user_and_by_item = 2 * 8 * found["rows"] + 4 * (USERS + ITEMS + 2)
    factors = 4 * FACTORS * (USERS + ITEMS)
    allowed = 1.5 * (by_user_and_by_item + factors) / (1 << 20) + FIXED_MB
    assert found["rows"] > 0.99 * ROWS
    assert found["mb"] <= allowed


def test_the_weighted_rows_are_what_scipy_makes_of_them(
    window: Callable[[str], Interactions],
) -> None:
    rows = window("train")
    ours = weighted(rows, Als(half_life_days=20, user_balance=0.3), factor=3.0)
    plain = csr_matrix(ours)
    assert ours.indices is rows.items or ours.indices.base is rows.items
    by_item, expected = ours.T.tocsr(), plain.T.tocsr()
    for name in ("data", "indices", "indptr"):
        assert getattr(by_item, name).tolist() == getattr(expected, name).tolist()
        assert getattr(by_item, name).dtype == getattr(expected, name).dtype

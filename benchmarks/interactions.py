"""Write a sealed dataset of any size straight to Parquet: latent taste, skew, three windows of time.

    PYTHONPATH=include python benchmarks/interactions.py --rows 1e7 --output FOLDER [--raw FOLDER]

Made in blocks of users, each from a random stream of (seed, block) alone, so memory stays at a block
and the same arguments give the same rows. The model: a user's number of items is log-normal; an item's
popularity falls as a power of its rank; users and items belong to one of ``--tastes`` groups, and with
probability .7 a user takes an item of his own group. ``--raw`` writes the same rows as gzipped JSON
lines of the format ``events``, for the whole pipeline, with one process a core.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender import manifest
from recommender.columns import CONFIDENCE, ITEM, ITEM_ID, TIMESTAMP, USER, USER_ID
from recommender.dataset import TEST, TRAIN, VALIDATION

BLOCK_ROWS = 1_000_000  # about 40 MB of arrays while a block is made
BEGIN, DAYS = 1_577_836_800, 365  # the year 2020
WINDOW_DAYS = {TRAIN: (0, 309), VALIDATION: (309, 337), TEST: (337, DAYS)}
_OWN_TASTE = 0.7
_SPREAD = 0.8  # of the log-normal activity: a tenth of the users has about half of the rows
_FILE_ROWS = 5_000_000


@dataclass(frozen=True)
class Model:
    """Hold everything the rows depend on; see the module's docstring."""

    rows: int
    users: int
    items: int
    skew: float = 1.5
    tastes: int = 20
    seed: int = 42

    @property
    def block_users(self) -> int:
        """Return how many users a block holds."""
        return max(1, BLOCK_ROWS * self.users // self.rows)


def of_size(rows: int, seed: int = 42) -> Model:
    """Return the model of a size: 40 rows a user, an item for 500 rows and 100,000 at most."""
    return Model(rows, max(100, rows // 40), min(100_000, max(200, rows // 500)), seed=seed)


def blocks(model: Model) -> Iterator[pa.Table]:
    """Yield tables of user, item, confidence, timestamp, sorted by user, then item, pairs unique."""
    for number in range(_count(model)):
        yield block(model, number)


def _count(model: Model) -> int:
    return -(-model.users // model.block_users)


def block(model: Model, number: int) -> pa.Table:
    """Return one of the tables of ``blocks``."""
    first = number * model.block_users
    users = np.arange(first, min(model.users, first + model.block_users))
    rng = np.random.default_rng((model.seed, number))
    mean = model.rows / model.users
    activity = np.exp(rng.normal(np.log(mean) - _SPREAD**2 / 2, _SPREAD, len(users)))
    # A tenth more than wanted: popular items are drawn twice and count once.
    counts = np.clip(1.1 * activity, 3, model.items // 4).astype(np.int64)
    user = np.repeat(users, counts)
    rank = (model.items * rng.random(len(user)) ** (1 + model.skew)).astype(np.int64)
    own = rng.random(len(user)) < _OWN_TASTE
    group = user * 7919 % model.tastes
    item = np.where(own, rank // model.tastes * model.tastes + group, rank)
    keys = np.unique(user * model.items + np.minimum(item, model.items - 1))
    times = BEGIN + (rng.random(len(keys)) * DAYS * 86_400).astype(np.int64)
    return pa.table(
        {
            USER: (keys // model.items).astype(np.int32),
            ITEM: (keys % model.items).astype(np.int32),
            CONFIDENCE: np.ones(len(keys), np.float32),
            TIMESTAMP: times,
        }
    )


def write(model: Model, output: Path) -> dict[str, int]:
    """Write a dataset directory, sealed; return the rows of each window."""
    writers = {name: _Parts(output / name) for name in WINDOW_DAYS}
    for table in blocks(model):
        day = (table.column(TIMESTAMP).to_numpy() - BEGIN) // 86_400
        for name, (first, last) in WINDOW_DAYS.items():
            writers[name].write(table.filter(pa.array((day >= first) & (day < last))))
    rows = {name: writer.close() for name, writer in writers.items()}
    _write_ids(output / "users", USER, USER_ID, "u", model.users)
    _write_ids(output / "items", ITEM, ITEM_ID, "i", model.items)
    profile = {
        "fit_until": BEGIN + WINDOW_DAYS[TEST][0] * 86_400,
        "users": model.users,
        "items": model.items,
        "windows": {name: {"rows": n} for name, n in rows.items()},
    }
    (output / "profile.json").write_text(json.dumps(profile))
    manifest.seal(str(output), "dataset", {"generated": asdict(model)})
    return rows


class _Parts:
    """Write part files of bounded size."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder, self._writer = folder, None
        self._rows = self._in_file = self._number = 0

    def write(self, table: pa.Table) -> None:
        if self._writer is None or self._in_file >= _FILE_ROWS:
            self._finish()
            path = self._folder / f"part-{self._number:05d}.parquet"
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            self._number, self._in_file = self._number + 1, 0
        self._writer.write_table(table)
        self._rows, self._in_file = self._rows + len(table), self._in_file + len(table)

    def close(self) -> int:
        self._finish()
        return self._rows

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _write_ids(folder: Path, index: str, name: str, prefix: str, count: int) -> None:
    folder.mkdir(parents=True)
    numbers = pa.array(np.arange(count, dtype=np.int32))
    ids = pc.binary_join_element_wise(
        prefix, pc.utf8_lpad(pc.cast(numbers, pa.string()), 9, "0"), ""
    )
    pq.write_table(pa.table({index: numbers, name: ids}), folder / "part-0.parquet")


def write_raw(model: Model, folder: Path) -> int:
    """Write the same rows as JSON lines of the format ``events``; return the bytes, gzipped."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        return sum(pool.map(partial(_write_lines, model, folder), range(_count(model))))


def _write_lines(model: Model, folder: Path, number: int) -> int:
    table = block(model, number)
    lines = pc.binary_join_element_wise(
        '{"user_id": "u',
        pc.cast(table.column(USER), pa.string()),
        '", "item_id": "i',
        pc.cast(table.column(ITEM), pa.string()),
        '", "timestamp": ',
        pc.cast(table.column(TIMESTAMP), pa.string()),
        "}\n",
        "",
    ).combine_chunks()
    text = gzip.compress(lines.buffers()[2], compresslevel=1, mtime=0)
    return (folder / f"part-{number:05d}.json.gz").write_bytes(text)


def main() -> None:
    """Parse the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=float, required=True)
    parser.add_argument("--output", type=Path, help="dataset directory")
    parser.add_argument("--raw", type=Path, help="folder of gzipped JSON lines")
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    model = of_size(int(asked.rows), asked.seed)
    if asked.output:
        print(f"{model}: {write(model, asked.output)}", file=sys.stderr)
    if asked.raw:
        print(f"{model}: {write_raw(model, asked.raw):,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Name the parts of a sharded candidate, and turn it into the plain one that readers map.

A sharded candidate has the same manifest and the same facts; where the plain one has an array, it has
a directory of Parquet shards sorted by index:

    als/user_factors/, als/item_factors/   index, factors
    item_scores/                           item, and a column for each popularity model
    users/, items/                         index and id, as in the dataset
    history/rows/                          user, item

``assemble`` writes the plain layout beside it, shard by shard, for who serves from one machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recommender import history
from recommender.columns import ITEM, ITEM_ID, POPULARITY_MODELS, USER, USER_ID
from recommender.errors import ManifestError

ITEM_SCORES = "item_scores"
ALL_TIME, RECENT, DECAYED = POPULARITY_MODELS
BEFORE = "training_"
"""Prefix of the columns that count the training window alone."""

SHARDED = "sharded"
"""Fact of a manifest: whether the candidate is."""

FOLDERS = {
    "users": (USER, USER_ID),
    "items": (ITEM, ITEM_ID),
}
HISTORY_ROWS = "rows"
_FACTORS = ("user_factors", "item_factors")


def is_shard(name: str) -> bool:
    """Tell whether a file of a manifest belongs to a sharded table."""
    return name.endswith(".parquet") and "/" in name


def is_sharded(names: Iterable[str]) -> bool:
    """Tell a sharded candidate by the names of its files."""
    return any(name.startswith(f"{ITEM_SCORES}/") for name in names)


def assemble(source: Path, target: Path) -> None:
    """Write the arrays and id tables of the plain layout from shards; other files are left alone.

    Memory holds a batch; what is written can be mapped.

    Raises:
        ManifestError: an index is missing or occurs twice: the shards are of two fits.
    """
    sizes = {name: _assemble_ids(source, target, name, *FOLDERS[name]) for name in FOLDERS}
    for name, rows in zip(_FACTORS, sizes.values(), strict=True):
        _assemble_factors(source / "als" / name, target / "als" / f"{name}.npy", rows)
    _assemble_scores(source / ITEM_SCORES, target, sizes["items"])
    _assemble_history(source / history.HISTORY, target / history.HISTORY, sizes["users"])


def _batches(folder: Path, *names: str) -> Iterator[pa.RecordBatch]:
    for file in sorted(folder.rglob("*.parquet")):
        yield from pq.ParquetFile(file, pre_buffer=False).iter_batches(1 << 16, columns=list(names))


def _assemble_ids(source: Path, target: Path, name: str, index: str, column: str) -> int:
    rows = 0
    schema = pa.schema([(index, pa.int32()), (column, pa.string())])
    with pq.ParquetWriter(target / f"{name}.parquet", schema, compression="zstd") as writer:
        for batch in _batches(source / name, index, column):
            _require_next(batch.column(index).to_numpy(), rows, source / name)
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            rows += len(batch)
    return rows


def _require_next(found: Any, first: int, where: Path) -> None:  # noqa: ANN401 - an array
    if not np.array_equal(found, np.arange(first, first + len(found))):
        message = (
            f"{where}: expected each index from {first} on in order, found another: the shards are "
            "not of one table; train again"
        )
        raise ManifestError(message)


def _assemble_factors(source: Path, target: Path, rows: int) -> None:
    """Write (rows, factors); who had no interaction has no row in the shards, and zeros here."""
    array: Any = None
    seen = 0
    for batch in _batches(source, "index", "factors"):
        values = batch.column("factors").flatten().to_numpy().reshape(len(batch), -1)
        index = batch.column("index").to_numpy()
        if array is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shape = (rows, values.shape[1])
            array = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
        if len(index) and not seen <= index[0] <= index[-1] < rows:
            message = f"{source}: expected indices in order below {rows}, found {index[-1]}"
            raise ManifestError(message)
        array[index] = values
        seen = int(index[-1]) + 1 if len(index) else seen
    if array is None:
        message = f"expected factors in {source}, found no row; train again"
        raise ManifestError(message)
    array.flush()


def _assemble_scores(source: Path, target: Path, items: int) -> None:
    table = pq.read_table(source, partitioning=None).sort_by(ITEM)
    _require_next(table.column(ITEM).to_numpy(), 0, source)
    if table.num_rows != items:
        message = f"{source}: expected {items} items, found {table.num_rows}; train again"
        raise ManifestError(message)
    for name in POPULARITY_MODELS:
        folder, decayed = target / name, name == DECAYED
        folder.mkdir(parents=True, exist_ok=True)
        values = table.column(name).to_numpy().astype(np.float32 if decayed else np.int64)
        np.save(folder / ("scores.npy" if decayed else "counts.npy"), values)


def _assemble_history(source: Path, target: Path, users: int) -> None:
    counts = np.zeros(users + 1, dtype=np.int64)
    last = 0
    for batch in _batches(source / HISTORY_ROWS, USER):
        found, rows = np.unique(batch.column(USER).to_numpy(), return_counts=True)
        if len(found) and not last <= found[0] <= found[-1] < users:
            message = f"{source}: expected users in order below {users}, found {found[-1]}"
            raise ManifestError(message)
        counts[found + 1] += rows
        last = int(found[-1]) if len(found) else last
    indptr = np.cumsum(counts)
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / "indptr.npy", indptr)
    shape = (int(indptr[-1]),)
    start = 0
    items = np.lib.format.open_memmap(target / "items.npy", mode="w+", dtype=np.int32, shape=shape)
    for batch in _batches(source / HISTORY_ROWS, ITEM):
        items[start : start + len(batch)] = batch.column(ITEM).to_numpy()
        start += len(batch)
    items.flush()

"""Rows keep their meaning on the way from Parquet into the sparse layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender import interactions
from recommender.errors import BadDataError
from recommender.interactions import Interactions

SHAPE = (3, 4)


def rows(*values: tuple[int, int, float, int]) -> Interactions:
    user, item, confidence, timestamp = zip(*values, strict=True)
    return interactions.from_columns(
        np.array(user, dtype=np.int32),
        np.array(item, dtype=np.int32),
        np.array(confidence, dtype=np.float32),
        np.array(timestamp, dtype=np.int64),
        SHAPE,
    )


def test_rows_in_any_order_become_sorted_rows_per_user() -> None:
    found = rows((2, 1, 1, 30), (0, 3, 2, 10), (0, 0, 1, 20))
    assert found.indptr.tolist() == [0, 2, 2, 3]
    assert found.items.tolist() == [0, 3, 1]
    assert found.confidence.tolist() == [1, 2, 1]
    assert found.timestamp.tolist() == [20, 10, 30]
    assert found.users.tolist() == [0, 0, 2]


def test_merging_windows_takes_the_latest_time_and_the_strongest_confidence() -> None:
    train = rows((0, 1, 2, 100), (1, 1, 1, 100))
    validation = rows((0, 1, 1, 200), (2, 3, 1, 300))
    merged = interactions.merge(train, validation)
    assert merged.users.tolist() == [0, 1, 2]
    assert merged.confidence.tolist() == [2, 1, 1]
    assert merged.timestamp.tolist() == [200, 100, 300]


def test_age_counts_back_from_the_newest_row_in_days() -> None:
    assert rows((0, 0, 1, 0), (0, 1, 1, 86_400)).age_days().tolist() == [1, 0]


def test_what_implicit_wants_is_float32_with_int32_indices() -> None:
    matrix = rows((0, 1, 2, 0)).matrix()
    assert (matrix.dtype, matrix.indices.dtype) == (np.float32, np.int32)
    assert matrix.toarray()[0].tolist() == [0, 2, 0, 0]


def test_reading_joins_the_files_of_a_window(tmp_path: Path) -> None:
    _write(tmp_path / "part-1.parquet", [(1, 2, 1.0, 5)])
    _write(tmp_path / "part-0.parquet", [(0, 3, 2.0, 7), (1, 0, 1.0, 6)])
    (tmp_path / "_SUCCESS").touch()
    found = interactions.read([tmp_path], SHAPE)
    assert (found.users.tolist(), found.items.tolist()) == ([0, 1, 1], [3, 0, 2])
    assert found.timestamp.tolist() == [7, 6, 5]


def test_pairs_of_several_windows_count_once(tmp_path: Path) -> None:
    _write(tmp_path / "train" / "a.parquet", [(1, 2, 1.0, 5)])
    _write(tmp_path / "validation" / "a.parquet", [(1, 2, 2.0, 9), (2, 0, 1.0, 9)])
    found = interactions.read_pairs([tmp_path / "train", tmp_path / "validation"], SHAPE)
    assert found.toarray().tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]


def test_an_empty_window_is_an_empty_matrix(tmp_path: Path) -> None:
    assert len(interactions.read([tmp_path], SHAPE)) == 0
    assert interactions.read_pairs([tmp_path], SHAPE).nnz == 0


@pytest.mark.parametrize(("user", "item"), [(3, 0), (-1, 0), (0, 4)])
def test_an_index_outside_the_id_tables_is_named(user: int, item: int) -> None:
    with pytest.raises(BadDataError, match="not of one dataset"):
        rows((user, item, 1, 0))


def _write(path: Path, values: list[tuple[int, int, float, int]]) -> None:
    path.parent.mkdir(exist_ok=True)
    types = [pa.int32(), pa.int32(), pa.float32(), pa.int64()]
    names = ["user", "item", "confidence", "timestamp"]
    columns = zip(*values, strict=True)
    pq.write_table(
        pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)}), path
    )


def test_reading_in_small_batches_gives_the_rows_of_one_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs that are in both windows, and several times in one, are moved together across batches."""
    monkeypatch.setattr(interactions, "_BATCH_ROWS", 7)
    draw = np.random.default_rng(1)
    drawn = [
        (
            int(draw.integers(3)),
            int(draw.integers(4)),
            float(draw.integers(1, 3)),
            int(draw.integers(99)),
        )
        for _ in range(60)
    ]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _write(tmp_path / "a" / "part-0.parquet", drawn[:35])
    _write(tmp_path / "b" / "part-0.parquet", drawn[35:])
    found = interactions.read([tmp_path / "a", tmp_path / "b"], SHAPE)
    expected = rows(*drawn)
    for name in ("indptr", "items", "confidence", "timestamp"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_blocks_of_users_end_where_the_index_does() -> None:
    """The end of a block of rows would lie beyond int32; many users of few rows are still one block."""
    last = np.iinfo(np.int32).max
    indptr = np.concatenate([[0], np.arange(last - 1000, last + 1)]).astype(np.int32)
    blocks = [(u.start, u.stop, r.start, r.stop) for u, r in interactions.user_blocks(indptr)]
    assert blocks == [(0, 1, 0, last - 1000), (1, 1001, last - 1000, last)]

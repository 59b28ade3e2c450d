"""What a Python worker of Spark's makes of the lines that it is handed, without a Spark around it."""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from zipimport import zipimporter

import pyarrow as pa
import pytest

from recommender.config import Preprocess
from recommender.engines import executor_reading
from recommender.engines.duckdb_engine import compile_reading
from recommender.engines.executor_reading import UNSETTLED, Compiled
from recommender.sources import SOURCES
from recommender.sources.lines import BLANK, LINES, Reading

GOOD = b'{"user_id": "u", "item_id": "i", "timestamp": 1500000000}'


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_reading(Reading(SOURCES["events"], Preprocess(), 1_600_000_000))


def _batches(*batches: Iterable[bytes]) -> list[pa.RecordBatch]:
    found = []
    for number, lines in enumerate(map(list, batches)):
        columns = {
            "raw": pa.array(lines, pa.binary()),
            "file": pa.array(["f"] * len(lines), pa.string()),
            "block": pa.array([0] * len(lines), pa.int64()),
            "position": pa.array(range(1000 * number, 1000 * number + len(lines)), pa.int64()),
        }
        found.append(pa.record_batch(columns))
    return found


def _read(compiled: Compiled, *batches: Iterable[bytes]) -> list[dict[str, object]]:
    rows = pa.Table.from_batches(
        list(executor_reading.read(iter(_batches(*batches)), compiled))
    ).to_pylist()
    return sorted(rows, key=lambda row: row["position"])


def test_every_line_of_every_batch_is_told_once_and_none_is_left_unsettled(
    compiled: Compiled,
) -> None:
    lines = [GOOD, b"", b"cut {", GOOD.replace(b"1500000000", b"-5"), b'{"user_id": "\xff"}']
    rows = _read(compiled, lines, lines, [])
    assert [row["reason"] for row in rows] == 2 * [
        None, BLANK, "not_an_object", "timestamp_not_positive", "item_id_missing",
    ]  # fmt: skip
    assert UNSETTLED not in {row["reason"] for row in rows}
    assert [row["position"] for row in rows] == [*range(5), *range(1000, 1005)]
    assert [row["raw"] for row in rows[:5]] == [
        None, None, "cut {", lines[3].decode(), '{"user_id": "\ufffd"}',
    ]  # fmt: skip
    assert list(rows[0]) == list(LINES)


def test_bytes_that_are_no_utf_8_are_read_as_python_replaces_them(compiled: Compiled) -> None:
    (row,) = _read(compiled, [GOOD.replace(b'"u"', b'"\xf0\x9f\x98z"')])
    assert (row["reason"], row["user_id"]) == (None, b"\xf0\x9f\x98z".decode(errors="replace"))


def test_an_escaped_key_and_an_id_that_is_a_number_are_read_with_care(compiled: Compiled) -> None:
    rows = _read(
        compiled,
        [GOOD.replace(b"user_id", b"user\\u005fid"), GOOD.replace(b'"u"', b"1.50")],
    )
    assert [(row["reason"], row["user_id"]) for row in rows] == [(None, "u"), (None, "1.50")]


def test_a_partition_without_a_line_gives_none(compiled: Compiled) -> None:
    assert list(executor_reading.read(iter([]), compiled)) == []
    assert sum(len(b) for b in executor_reading.read(iter(_batches([])), compiled)) == 0


def test_a_line_of_several_megabytes_is_read(compiled: Compiled) -> None:
    long = json.dumps(
        {"user_id": "u", "item_id": "i", "timestamp": 1500000000, "x": "y" * 8_000_000}
    )
    rows = _read(compiled, [GOOD, long.encode(), long.encode()[:-1]])
    assert [row["reason"] for row in rows] == [None, None, "not_json"]
    assert rows[2]["raw"] == long[:-1]


def test_between_tasks_python_need_not_read_the_directories_of_zips_again(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("packed_one.py", "HERE = 1")
        packed.writestr("packed_two.py", "HERE = 2")
    monkeypatch.syspath_prepend(str(path))
    assert importlib.import_module("packed_one").HERE == 1
    assert str(path) in sys.path_importer_cache
    others = {k for k, v in sys.path_importer_cache.items() if not isinstance(v, zipimporter)}
    monkeypatch.setattr(executor_reading, "_spared", [])
    try:
        _read(compiled, [GOOD])
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.unfreeze()
    assert str(path) not in sys.path_importer_cache
    assert others <= set(sys.path_importer_cache)
    assert importlib.import_module("packed_two").HERE == 2


def test_a_worker_imports_neither_sqlframe_nor_pyspark() -> None:
    """Each would cost every worker of every node seconds and memory; and SQLFrame is not there."""
    code = (
        "import sys; from recommender.engines import executor_reading; "
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'sqlframe', 'sqlglot', 'pyspark'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.strip() == ""

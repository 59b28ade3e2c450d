"""Raw files as blocks of lines, one careful reading of a line, and the DuckDB job on S3."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path

import pytest

from recommender import manifest, storage
from recommender.errors import ConflictError, TornFileError
from recommender.jobs import preprocess
from recommender.sources import blocks, careful
from recommender.sources.gunzip import GzipFaultError, gunzip
from recommender.storage import FileInfo

KEYS, IDS = ("user", "n"), ("user",)


def _lines(path: Path) -> list[bytes]:
    found = blocks.read_blocks(FileInfo(str(path), path.stat().st_size))
    return [
        line.rstrip(b"\n") for block in found for line in block.lines.cast("binary").to_pylist()
    ]


@pytest.mark.parametrize(
    ("line", "reason", "values"),
    [
        ('{"user": "u", "n": 1}', None, ["u", "1"]),
        ('{"user": "u", "n": 1.50, "user": "last"}', None, ["last", "1.50"]),
        ('{"user": "u", "n": NaN}', None, ["u", "NaN"]),
        ('{"user": nan, "n": [1, 2,], }', None, [None, "[\"1\", \"2\"]"]),
        ('{"user": "a, } NaN", "n": -inf}', None, ["a, } NaN", "NaN"]),
        ('{"user": {"id": 1}, "n": true}', None, [None, "true"]),
        ('{"user": "\\ud800", "n": ' + "9" * 5000 + "}", None, ["?", "9" * 5000]),
        ('{"user": "u"}}', "not_json", [None, None]),
        ('{"user": "u"} {"user": "v"}', "two_objects", [None, None]),
        ("{'user': 'u'}", "not_json", [None, None]),
        ("user,n", "not_an_object", [None, None]),
        ('{"user": "u", "n": ' + "[" * 499 + "]" * 499 + "}", None, ["u", "[" * 499 + "]" * 499]),
        ('{"user": "u", "n": ' + "[" * 500 + "]" * 500 + "}", "nested_too_deep", [None, None]),
        ('{"user": "' + "[" * 600 + '"}', None, ["[" * 600, None]),
    ],
)  # fmt: skip
def test_a_line_is_read_or_has_its_reason(
    line: str, reason: str | None, values: list[str | None]
) -> None:
    assert careful.read(f"\ufeff {line}\r\n".encode(), KEYS, IDS) == (
        f"\ufeff {line}",
        reason,
        values,
    )


def test_broken_utf8_is_replaced_and_costs_only_what_it_touches() -> None:
    line, reason, values = careful.read(b'{"user": "\xe2\x82", "n": 2}', KEYS, IDS)
    assert (line, reason, values) == ('{"user": "\ufffd", "n": 2}', None, ["\ufffd", "2"])


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_lines_are_whole_wherever_the_chunks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(blocks, "_CHUNK", chunk)
    lines = [b"a", b"", b"bb" * 40, b"\xff", b"last without an end"]
    plain, packed = tmp_path / "plain.json", tmp_path / "packed.json.gz"
    plain.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    packed.write_bytes(
        gzip.compress(b"\n".join(lines[:2]) + b"\n") + gzip.compress(b"\n".join(lines[2:]))
    )
    expected = [line.replace(b"\xff", "\ufffd".encode()) for line in lines]
    assert _lines(plain) == expected
    assert _lines(packed) == expected
    positions = [b.first for b in blocks.read_blocks(FileInfo(str(packed), 1))]
    assert positions[0] == 0
    assert positions == sorted(set(positions))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_CHUNK", 10)
    monkeypatch.setattr(blocks, "_LONGEST", 100)
    path = tmp_path / "a.json"
    path.write_bytes(b"x" * 200)
    with pytest.raises(Exception, match="without the end of a line"):
        _lines(path)


@pytest.mark.parametrize(("cut", "said"), [(-9, "ends in mid-stream"), (3, "ends in mid-stream")])
def test_torn_gzip_is_named(tmp_path: Path, cut: int, said: str) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"line\n" * 1000)[:cut])
    with pytest.raises(TornFileError, match=f"{path}: gzip {said}"):
        _lines(path)
    with pytest.raises(GzipFaultError, match="damaged"):
        list(gunzip([b"no gzip at all"], 10))


def test_the_first_error_of_a_reader_ends_the_reading(tmp_path: Path) -> None:
    files = []
    for n in range(6):
        path = tmp_path / f"{n}.json.gz"
        path.write_bytes(gzip.compress(b"line\n" * 1000)[: -8 if n == 3 else None])
        files.append(FileInfo(str(path), path.stat().st_size))
    reader = blocks.Reader(files)
    with pytest.raises(TornFileError, match=r"3\.json\.gz"):
        list(reader)
    assert isinstance(reader.error, TornFileError)


def test_an_object_is_read_in_pieces_and_only_while_it_stays_the_same(s3: str) -> None:
    storage.write(f"{s3}/a", b"0123456789")
    file = FileInfo(f"{s3}/a", 10)
    assert list(storage.read_chunks(file, 4)) == [b"0123", b"4567", b"89"]
    pieces = storage.read_chunks(file, 4)
    next(pieces)
    storage.write(f"{s3}/a", b"something else")
    with pytest.raises(ConflictError):
        next(pieces)


def test_duckdb_reads_from_s3_and_seals_its_dataset_there(s3: str, tmp_path: Path) -> None:
    events = [
        {"user_id": f"u{u}", "item_id": f"i{(u + d) % 7}", "timestamp": 1_500_000_000 + d * 86_400 + u}
        for d in range(60)
        for u in range(9)
    ]  # fmt: skip
    text = "\n".join([*map(json.dumps, events), "oops"]).encode()
    storage.write(f"{s3}/raw/a.json.gz", gzip.compress(text))
    config = tmp_path / "config.yaml"
    settings = "{holdout_days: 7, validation_days: 7, engine: duckdb}"
    config.write_text(f"{{name: t, description: d, dataset: t, preprocess: {settings}}}")
    arguments = ["--config", str(config), "--snapshot", f"{s3}/raw"]
    arguments += ["--output", f"{s3}/run/dataset", "--quarantine", f"{s3}/run/quarantine"]
    assert preprocess.main(arguments) == 0
    assert manifest.verify(f"{s3}/run/dataset", "dataset").about["users"] == 9
    kept = storage.read(f"{s3}/run/quarantine/part-00000.json.gz").data
    bad = {"file": "a.json.gz", "line": 541, "reason": "not_an_object", "raw": "oops"}
    assert json.loads(gzip.decompress(kept)) == bad


@pytest.mark.parametrize("torn", [True, False], ids=["an error", "the reader's going away"])
def test_threads_end_with_the_reading_however_it_ends(tmp_path: Path, torn: bool) -> None:
    line = b'{"user": "u"}\n'
    for n in range(6):  # far more blocks than are read ahead
        (tmp_path / f"{n}.json").write_bytes(line * 700_000)
    files = [FileInfo(str(path), path.stat().st_size) for path in sorted(tmp_path.iterdir())]
    if torn:
        broken = tmp_path / "torn.json.gz"
        broken.write_bytes(gzip.compress(line * 1000)[:-9])
        files.insert(3, FileInfo(str(broken), broken.stat().st_size))
    before = set(threading.enumerate())
    found = iter(blocks.Reader(files))
    next(found)
    threads = set(threading.enumerate()) - before
    assert threads
    if torn:
        with pytest.raises(TornFileError, match=r"torn\.json\.gz"):
            list(found)
    else:
        found.close()  # type: ignore[attr-defined]  # it is a generator
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)

"""Which files of a snapshot are read, as what, and what is refused before Spark starts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from recommender.errors import BadDataError, SnapshotError
from recommender.sources.peek import gzip_fault
from recommender.sources.snapshot import open_snapshot
from recommender.storage import FileInfo

REVIEW_2014 = {"reviewerID": "A1", "asin": "0001", "unixReviewTime": 1393545600, "overall": 5.0}
REVIEW_2018 = {**REVIEW_2014, "verified": True, "vote": "1,234"}
REVIEW_2023 = {"user_id": "A", "parent_asin": "B", "asin": "C", "timestamp": 1562182632076}
EVENT = {"user_id": "u", "item_id": "i", "timestamp": "2017-01-01T00:00:00Z"}
META = {"asin": "0001", "title": "A kettle", "category": []}


def _write(path: Path, *records: Any, prefix: bytes = b"") -> None:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    data = prefix + "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (REVIEW_2014, "amazon_2014"),
        (REVIEW_2018, "amazon_2018"),
        (REVIEW_2023, "amazon_2023"),
        (EVENT, "events"),
    ],
)
@pytest.mark.parametrize("file", ["a.json", "a.jsonl", "a.json.gz", "a.jsonl.gz"])
def test_format_is_detected(tmp_path: Path, record: dict[str, Any], name: str, file: str) -> None:
    _write(tmp_path / file, record)
    assert open_snapshot(str(tmp_path), "auto").source.name == name


def test_detection_passes_over_a_header_a_byte_order_mark_and_broken_lines(tmp_path: Path) -> None:
    _write(
        tmp_path / "a.json", "user_id,item_id", '{"user_id": ', "", EVENT, prefix=b"\xef\xbb\xbf"
    )
    assert open_snapshot(str(tmp_path), "auto").source.name == "events"


def test_detection_reads_on_when_the_first_line_is_longer_than_one_look(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", {**REVIEW_2018, "reviewText": "x" * 300_000}, REVIEW_2018)
    assert open_snapshot(str(tmp_path), "auto").source.name == "amazon_2018"


def test_only_data_files_of_the_snapshot_itself_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "b.json", EVENT)
    _write(tmp_path / "a.json.gz", EVENT)
    for other in ("items/meta.json", "_SUCCESS", ".hidden.json", "_tmp.json", "manifest.json"):
        _write(tmp_path / other, META)
    (tmp_path / "notes.txt").write_text("not data")
    (tmp_path / "zero.json").touch()
    snapshot = open_snapshot(str(tmp_path), "auto")
    assert [Path(f.uri).name for f in snapshot.files] == ["a.json.gz", "b.json"]
    assert snapshot.empty == ("zero.json",)


def test_absent_snapshot_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"expected files named \*\.json.*found nothing"):
        open_snapshot(str(tmp_path / "absent"), "auto")


def test_snapshot_without_data_files_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("a,b\n")
    with pytest.raises(SnapshotError, match=r"found reviews\.csv"):
        open_snapshot(str(tmp_path), "auto")


def test_snapshot_of_empty_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    with pytest.raises(SnapshotError, match=r"found only empty files: a\.json"):
        open_snapshot(str(tmp_path), "auto")


def test_snapshot_of_blank_lines_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path / "a.json.gz", "", "   ")
    with pytest.raises(SnapshotError, match="only files without a line of text"):
        open_snapshot(str(tmp_path), "auto")


def test_unknown_format_shows_the_keys_found_and_those_expected(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", {"customer": 1, "sku": 2})
    with pytest.raises(
        SnapshotError, match=r"a\.json .*keys customer, sku; .*events: user_id, item_id, timestamp"
    ):
        open_snapshot(str(tmp_path), "auto")


def test_text_that_is_no_json_shows_its_first_line(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", "user_id,item_id,timestamp", "u,i,1")
    with pytest.raises(SnapshotError, match="the first is 'user_id,item_id,timestamp'"):
        open_snapshot(str(tmp_path), "auto")


def test_mix_of_formats_names_the_files_of_each(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", REVIEW_2018)
    _write(tmp_path / "b.json", EVENT)
    with pytest.raises(
        BadDataError, match=r"found a mix: amazon_2018 in a\.json; events in b\.json"
    ):
        open_snapshot(str(tmp_path), "auto")


def test_item_metadata_among_the_reviews_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", REVIEW_2014)
    _write(tmp_path / "meta_a.json", META)
    with pytest.raises(BadDataError, match=r"meta_a\.json .*belongs in items/"):
        open_snapshot(str(tmp_path), "auto")


def test_declared_format_is_held_against_the_files(tmp_path: Path) -> None:
    _write(tmp_path / "a.json", REVIEW_2014)
    assert open_snapshot(str(tmp_path), "amazon_2014").source.name == "amazon_2014"
    with pytest.raises(SnapshotError, match=r"expected events .*found amazon_2014 in a\.json"):
        open_snapshot(str(tmp_path), "events")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.json.gz", b"<!DOCTYPE html><html>404</html>", "a.json.gz is an HTML page"),
        ("a.json", b"\n<html><body>404</body></html>", "a.json is an HTML page"),
        ("a.json.gz", b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer"),
        ("a.json.gz", b'{"user_id": 1}\n', "plain JSON under a gzip name"),
        ("a.json.gz", b"\x00\x01\x02", "no gzip at all"),
        ("a.json", gzip.compress(b"{}", mtime=0), "gzip-compressed without a .gz"),
        ("a.json", b"PK\x03\x04....", "a zip archive"),
    ],
)
def test_file_that_is_not_what_its_name_says_is_named(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    _write(tmp_path / "good.json", EVENT)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadDataError) as error:
        open_snapshot(str(tmp_path), "auto")
    assert expected in str(error.value)


WHOLE = gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (WHOLE, None),
        (WHOLE + WHOLE, None),  # members may be concatenated
        (WHOLE[:-20], "ends in mid-stream"),
        (WHOLE[:-3], "ends in mid-stream"),  # only the trailer is cut
        (WHOLE[:-8] + bytes(8), "damaged"),  # checksum
        (WHOLE + bytes(100), "damaged"),  # padding, which Hadoop does not read either
    ],
)
def test_gzip_fault_says_what_is_wrong(tmp_path: Path, data: bytes, fault: str | None) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(data)
    found = gzip_fault(FileInfo(str(path), len(data)))
    assert found is None if fault is None else fault in str(found)

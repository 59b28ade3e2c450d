"""What becomes of each raw line: parsed values, or the reason why not, with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from recommender import storage
from recommender.config import Preprocess
from recommender.engines import Engine, at_work, spark_engine
from recommender.engines.executor_reading import UNSETTLED
from recommender.engines.spark_engine import SparkEngine
from recommender.sources import SOURCES
from recommender.sources.lines import BLANK, parse_lines
from recommender.sources.quarantine import Tally, count_lines, write_quarantine

GOOD = '{"user_id": "u", "item_id": "i", "timestamp": 1500000000}'
LATEST = 1_600_000_000


def _event(**changes: Any) -> str:
    return json.dumps({"user_id": "u", "item_id": "i", "timestamp": 1500000000, **changes})


def _parse(engine: Engine, folder: Path, source: str, **settings: Any) -> list[Row]:
    """Return all lines in order, each as the reading that settled it found it."""
    lines = engine.read(storage.list_files(str(folder)))
    parsed = parse_lines(lines, SOURCES[source], Preprocess(**settings), LATEST)
    rows = [row for row in parsed.first.collect() if row["reason"] != UNSETTLED]
    rows += parsed.again.collect() if parsed.again is not None else []
    return sorted(rows, key=lambda row: (row["file"], row["block"], row["position"]))


BAD = [
    ("user_id,item_id,timestamp", "not_an_object"),  # a header
    ("[" + GOOD + "]", "not_an_object"),
    ("null", "not_an_object"),
    ('{"user_id": "u", "item_id"', "not_json"),
    ("{'user_id': 'u', 'item_id': 'i', 'timestamp': 1500000000}", "not_json"),
    (GOOD + "x", "not_json"),
    (GOOD + GOOD, "two_objects"),
    (GOOD + " " + GOOD, "two_objects"),
    ('{"item_id": "i", "timestamp": 1500000000}', "user_id_missing"),
    (_event(user_id=None), "user_id_missing"),
    (_event(user_id=""), "user_id_blank"),
    (_event(user_id=" \t\u00a0"), "user_id_blank"),
    (_event(item_id=None), "item_id_missing"),
    (_event(item_id="  "), "item_id_blank"),
    (_event(timestamp=None), "timestamp_missing"),
    (_event(timestamp="yesterday"), "timestamp_unreadable"),
    (_event(timestamp="2017-02-30"), "timestamp_unreadable"),
    (_event(timestamp="12:30"), "timestamp_unreadable"),
    (_event(timestamp=1500000000000000), "timestamp_unreadable"),  # microseconds
    (_event(timestamp=0), "timestamp_not_positive"),
    (_event(timestamp=-5), "timestamp_not_positive"),
    (_event(timestamp=LATEST), "timestamp_in_future"),
    (_event(timestamp="2031-01-01"), "timestamp_in_future"),
    (_event(weight=0), "weight_not_positive"),
    (_event(weight=-2), "weight_not_positive"),
    (_event(weight=1e-60), "weight_not_positive"),  # zero as float32
    (_event(weight=float("nan")), "weight_unreadable"),
    (_event(weight=float("inf")), "weight_unreadable"),
    (_event(weight="much"), "weight_unreadable"),
    (_event(weight=1e39), "weight_not_finite"),  # infinite as float32
]

FINE = [
    (GOOD, ("u", "i", 1500000000, 1.0)),
    ("  \t" + GOOD + " ", ("u", "i", 1500000000, 1.0)),
    ("\ufeff" + GOOD, ("u", "i", 1500000000, 1.0)),  # files joined, mark in the middle
    (_event(user_id=7, item_id=42), ("7", "42", 1500000000, 1.0)),
    (_event(item_id="0042"), ("u", "0042", 1500000000, 1.0)),
    (_event(user_id=" u v "), (" u v ", "i", 1500000000, 1.0)),
    (_event(user_id='a "}{" b'), ('a "}{" b', "i", 1500000000, 1.0)),
    (_event(user_id="lol }{", note="}{"), ("lol }{", "i", 1500000000, 1.0)),
    (_event(weight=2.5), ("u", "i", 1500000000, 2.5)),
    (_event(weight="3"), ("u", "i", 1500000000, 3.0)),
    (_event(weight=None), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp=1500000000123), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp="1500000000"), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp=1500000000.9), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp="2017-07-14T02:40:00Z"), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp="2017-07-14T02:40:00"), ("u", "i", 1500000000, 1.0)),  # UTC
    (_event(timestamp="2017-07-14 04:40:00.250+02:00"), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp="2017-07-14T04:40:00+0200"), ("u", "i", 1500000000, 1.0)),
    (_event(timestamp="2017-07-14"), ("u", "i", 1499990400, 1.0)),
    (_event(timestamp=LATEST - 1), ("u", "i", LATEST - 1, 1.0)),
]


def test_every_trap_has_its_reason_and_every_good_line_its_values(
    engine: Engine, tmp_path: Path
) -> None:
    lines = [line for line, _ in BAD] + ["", "  "] + [line for line, _ in FINE]
    text = "\ufeff" + "\r\n".join(lines) + "\r\n"
    (tmp_path / "a.json").write_bytes(text.encode())
    rows = _parse(engine, tmp_path, "events")
    reasons = [row["reason"] for row in rows]
    assert reasons == [*(r for _, r in BAD), BLANK, BLANK, *(None for _ in FINE)]
    assert [row["raw"] for row in rows[: len(BAD)]] == [line for line, _ in BAD]
    good = rows[len(BAD) + 2 :]
    values = [(r["user_id"], r["item_id"], r["timestamp"], r["confidence"]) for r in good]
    assert values == [expected for _, expected in FINE]
    assert {row["raw"] for row in good} == {None}


def test_amazon_2014_counts_every_review_alike_and_keeps_leading_zeros(
    engine: Engine, tmp_path: Path
) -> None:
    record = {"reviewerID": "A1", "asin": "0001384719", "overall": 0.0, "helpful": [0, 0]}
    (tmp_path / "a.json").write_text(json.dumps({**record, "unixReviewTime": 1393545600}))
    (row,) = _parse(engine, tmp_path, "amazon_2014")
    assert (row["item_id"], row["timestamp"], row["confidence"]) == ("0001384719", 1393545600, 1.0)


@pytest.mark.parametrize(("verified", "confidence"), [(True, 3.0), (False, 1.0), (None, 1.0)])
def test_amazon_2018_verified_counts_more(
    engine: Engine, tmp_path: Path, verified: bool | None, confidence: float
) -> None:
    record = {"reviewerID": "A1", "asin": "B", "unixReviewTime": 1, "vote": "1,234"}
    (tmp_path / "a.json").write_text(json.dumps({**record, "verified": verified}))
    (row,) = _parse(engine, tmp_path, "amazon_2018", verified_confidence=3.0)
    assert (row["reason"], row["confidence"]) == (None, confidence)


def test_amazon_2023_takes_the_parent_and_milliseconds(engine: Engine, tmp_path: Path) -> None:
    record = {"user_id": "A", "asin": "variant", "parent_asin": "parent", "rating": 0.0}
    record |= {"timestamp": 1562182632076, "verified_purchase": True}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    (row,) = _parse(engine, tmp_path, "amazon_2023")
    found = (row["item_id"], row["timestamp"], row["confidence"])
    assert found == ("parent", 1562182632, 2.0)


def test_bad_lines_keep_their_line_number_in_split_files_and_odd_names(
    engine: Engine, spark: SparkSession, tmp_path: Path
) -> None:
    # Plain files in pieces of 300 bytes, and names that mean something to Hadoop and to URLs.
    bad = {"a b%20[1].json": {3, 40, 77}, "z{x}.json.gz": {5}}
    raw = tmp_path / "we ird+[raw]"
    raw.mkdir()
    for name, numbers in bad.items():
        lines = ["oops" if n in numbers else GOOD for n in range(1, 81)]
        data = "\n".join(lines).encode()
        (raw / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    spark.conf.set("spark.sql.files.maxPartitionBytes", "300")
    try:
        lines_frame = engine.read(storage.list_files(str(raw)))
        parsed = parse_lines(lines_frame, SOURCES["events"], Preprocess(), LATEST)
        tally = count_lines(parsed)
        if engine.name == "spark":
            assert len(tally.first_lines) > 10  # it was split indeed
        write_quarantine(parsed, tally, str(tmp_path / "quarantine"))
        parsed.release()
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    files = sorted((tmp_path / "quarantine").glob("part-*.json.gz"))
    found = [json.loads(x) for f in files for x in gzip.decompress(f.read_bytes()).splitlines()]
    assert [(r["file"], r["line"]) for r in found] == [(f, n) for f in bad for n in sorted(bad[f])]
    assert {(r["reason"], r["raw"]) for r in found} == {("not_an_object", "oops")}
    assert (tally.raw, tally.good, tally.bad.total()) == (160, 156, 4)


def test_times_in_milliseconds_are_counted(engine: Engine, tmp_path: Path) -> None:
    times = [1500000000, 1500000000123, "1500000000123", "2017-07-14", 1500000000000000]
    (tmp_path / "a.json").write_text("\n".join(_event(timestamp=time) for time in times))
    lines = engine.read(storage.list_files(str(tmp_path)))
    tally = count_lines(parse_lines(lines, SOURCES["events"], Preprocess(), LATEST))
    assert (tally.good, tally.milliseconds) == (4, 2)


def test_share_of_bad_lines_leaves_blank_ones_out() -> None:
    tally = Tally(good=98, blank=900)
    tally.bad["not_json"] = 2
    assert tally.bad_share == pytest.approx(0.02)


def test_a_huge_gzip_is_spread_once_unpacked_and_keeps_its_line_numbers(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_engine, "_SPREAD_BYTES", 1)
    lines = [GOOD] * 200
    lines[76] = "oops"
    (tmp_path / "one.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "plain.json").write_text(GOOD)
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    try:
        with at_work(SparkEngine(spark)) as at:
            read = at.read(storage.list_files(str(tmp_path)))
            parts = [len(part) for part in read.select("file").rdd.glom().collect()]
            parsed = parse_lines(read, SOURCES["events"], Preprocess(), LATEST)
            tally = count_lines(parsed)
            write_quarantine(parsed, tally, str(tmp_path / "quarantine"))
            parsed.release()
    finally:
        spark.conf.unset("spark.sql.shuffle.partitions")
    assert (sum(parts), len(parts)) == (201, 6)
    assert max(parts) < 80
    (part,) = (tmp_path / "quarantine").glob("part-*.json.gz")
    (bad,) = map(json.loads, gzip.decompress(part.read_bytes()).splitlines())
    assert (bad["file"], bad["line"]) == ("one.json.gz", 77)
    assert (tally.raw, tally.good) == (201, 200)

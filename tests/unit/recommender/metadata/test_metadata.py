"""Item metadata of all generations: what is read, what is put aside, what a table holds."""

from __future__ import annotations

import ast
import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from recommender import storage
from recommender.errors import BadDataError
from recommender.metadata import job, table
from recommender.metadata.fields import Item, read_item
from recommender.metadata.literals import MAX_BYTES, BadLineError, parse

META_2014 = {
    "asin": "0000031852",
    "categories": [["Sports & Outdoors", "Other Sports", "Dance"], ["Toys", "Tutus"]],
    "title": 'Girls\' Ballet Tutu "Zebra" \\d hot pink',
    "price": 3.17,
    "salesRank": {"Toys & Games": 211836},
    "related": {"also_bought": ["B00JHONN1S"], "also_viewed": []},
    "brand": "Coxlures",
}
META_2018 = {
    "asin": "B001BKEWF2",
    "category": ["Gift Cards", "Gift Cards", "No expiration, no fees.", "More page text " * 9],
    "title": "Maggiano&#39;s &amp;amp; Co.",
    "brand": "",
    "price": "$1,234.50",
    "main_cat": "Grocery",
}
META_2023: dict[str, Any] = {
    "parent_asin": "B07V5G",
    "asin": "B0VARIANT",
    "title": "Kettle",
    "main_category": "Home",
    "categories": [],
    "store": "Boil & Co",
    "price": None,
    "details": {"Brand": "unused"},
}
EVENT = {"item_id": 10, "title": "Milk", "category": "GROCERY > Milk", "brand": None, "price": 0}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            repr(META_2014),
            Item(
                "0000031852",
                'Girls\' Ballet Tutu "Zebra" \\d hot pink',
                "Sports & Outdoors > Other Sports > Dance",
                "Coxlures",
                3.17,
            ),
        ),
        (
            json.dumps(META_2018),
            Item("B001BKEWF2", "Maggiano's & Co.", "Gift Cards", None, 1234.5),
        ),
        (json.dumps(META_2023), Item("B07V5G", "Kettle", "Home", "Boil & Co", None)),
        (json.dumps(EVENT), Item("10", "Milk", "GROCERY > Milk", None, 0.0)),
        ('\ufeff{"asin": "0001"}\r', Item("0001", None, None, None, None)),
    ],
    ids=["2014", "2018", "2023", "events", "byte-order mark and nothing but an id"],
)
def test_every_generation_gives_an_item(line: str, expected: Item) -> None:
    record = parse(line.encode())
    assert record is not None
    assert read_item(record) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{'asin': __import__('os').system('touch /tmp/owned')}", "neither_json_nor_literal"),
        ("{'asin': 'a' * 100000000}", "neither_json_nor_literal"),
        ("{'asin': 'a' 'b'}", "neither_json_nor_literal"),
        ("{'price': " + "1-" * 50_000 + "1}", "neither_json_nor_literal"),
        ("{'price': " + "-" * 100_000 + "1}", "neither_json_nor_literal"),
        ("{'asin': " + "[" * 5_000 + "]" * 5_000 + "}", "nested_too_deeply"),
        ('{"asin": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested_too_deeply"),
        ("{'asin': 'cut off", "neither_json_nor_literal"),
        ("{'a'}", "not_an_object"),
        ("{'x': " + "9" * 5_000 + "}", "neither_json_nor_literal"),
        ("[1, 2]", "not_an_object"),
        ("asin,title", "not_an_object"),
        ("{'title': '" + "x" * MAX_BYTES + "'}", "line_too_long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_is_no_record_is_named_and_never_run(line: str, reason: str) -> None:
    with pytest.raises(BadLineError, match=f"^{reason}$"):
        parse(line.encode())


def test_a_line_that_is_not_utf8_is_named() -> None:
    with pytest.raises(BadLineError, match="not_utf8"):
        parse(b'{"asin": "\xff\xfe"}')


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"title": "t"}, "item_id_missing"),
        ({"asin": " \u00a0"}, "item_id_blank"),
        ({"asin": ["0001"]}, "item_id_unreadable"),
        ({"asin": True}, "item_id_unreadable"),
    ],
)
def test_a_record_without_an_item_is_named(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadLineError, match=f"^{reason}$"):
        read_item(record)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("$25.00", 25.0), ("$5.00 - $9.99", 5.0), ("from $19.99", 19.99), ("US$ 7", 7.0),
        (".a-box-inner{background-color:#fff}#alohaPriceBox", None), ("\n\n<script", None),
        ("", None), ("None", None), (float("nan"), None), (float("inf"), None), (-1, None),
        (True, None), ([], None), (10**400, None), (9.99, 9.99),
    ],
)  # fmt: skip
def test_a_price_is_a_number_or_absent(price: object, expected: float | None) -> None:
    assert read_item({"asin": "1", "price": price}).price == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('<span class="a-size-medium a-color-secondary"', None),
        ("var aPageStart = (new Date()).getTime();", None),
        ("A <b>bold</b>\n\tmove", "A bold move"),
        ("weights < 5 lbs, I <3 it", "weights < 5 lbs, I <3 it"),
        ("half a pair \ud83d", "half a pair ?"),
        ("x" * 300_000, "x" * 500),
        ({"not": "text"}, None),
    ],
)
def test_a_title_is_readable_text_or_absent(title: object, expected: str | None) -> None:
    assert read_item({"asin": "1", "title": title}).title == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["asin", "title", "categories", "brand", "price"]), JSON))
def test_whatever_a_field_holds_gives_an_item_or_a_reason(record: dict[str, Any]) -> None:
    try:
        item = read_item(record)
    except BadLineError:
        return
    pa.array([item.title, item.category, item.brand], pa.string())
    assert item.item_id == str(record["asin"])


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=5))
def test_a_python_literal_says_what_its_json_says(record: dict[str, Any]) -> None:
    assert parse(repr(record).encode()) == parse(json.dumps(record).encode())


@pytest.mark.parametrize(
    "text",
    [
        "{'a': (1, 2)}", "{'a': 1_000, 'b': .5, 'c': 1e5, 'd': -0}", "{1: 2}", "{'a': 'tab\there'}",
        "{u'a': u'x\"y', 'b': \"it's\"}", r"{'a': '\x41\u00e9\N{EN DASH}\''}", "{'a': None, 'a': True}",
    ],
)  # fmt: skip
def test_a_literal_that_json_has_no_word_for_keeps_its_value(text: str) -> None:
    assert parse(text.encode()) == ast.literal_eval(text)


@pytest.mark.parametrize(
    "text",
    ["{'a': true}", "{'a': NaN}", "{'a': 'b' 'c'}", "{'a': 007}", "{'a': b'x'}", "{'a': '\r'}"],
)
def test_what_only_json_or_nobody_knows_is_no_literal(text: str) -> None:
    with pytest.raises(BadLineError, match="neither_json_nor_literal"):
        parse(text.encode())


def write_snapshot(root: Path, **files: list[Any]) -> str:
    """Write ``items/<name>.json.gz`` of each keyword; dictionaries become JSON."""
    folder = root / "items"
    folder.mkdir(parents=True)
    for name, lines in files.items():
        text = "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))
    return str(root)


def write_dataset(root: Path, *known: str) -> str:
    """Write the items table of a dataset, as preprocessing has before metadata is read."""
    (root / "items").mkdir(parents=True)
    ids = pa.table({"item": pa.array(range(len(known)), pa.int32()), "item_id": list(known)})
    pq.write_table(ids, root / "items" / "part.parquet")
    return str(root)


def items(dataset: str) -> list[dict[str, Any]]:
    found = table.read(f"{dataset}/items_metadata")
    assert found is not None
    return sorted(found.to_pylist(), key=lambda row: row["item_id"])


def run(tmp_path: Path, snapshot: str, budget: float = 1.0, processes: int = 1) -> dict[str, Any]:
    dataset = str(tmp_path / "dataset")
    if not Path(dataset).exists():
        write_dataset(tmp_path / "dataset", "1", "2", "absent")
    found = job.write_items(snapshot, dataset, str(tmp_path / "quarantine"), budget, processes)
    assert found is not None
    return found


def test_every_line_is_accounted_for(tmp_path: Path) -> None:
    snapshot = write_snapshot(
        tmp_path / "raw",
        a=[{"asin": "1", "title": "one"}, "", "{'asin': '2', 'price': 2.5}", "{broken"],
        b=[{"asin": "new", "brand": "b"}, {"title": "no id"}, {"asin": "1"}],
    )
    profile = run(tmp_path, snapshot)
    assert profile["lines"] == 7
    assert profile["blank"] == 1
    assert profile["quarantined"] == {"item_id_missing": 1, "neither_json_nor_literal": 1}
    assert profile["duplicates"] == 1
    assert profile["items"] == 3
    assert profile["with"] == {"title": 1, "category": 0, "brand": 1, "price": 1}
    assert (profile["known"], profile["known_share"]) == (2, round(2 / 3, 6))
    assert [row["item_id"] for row in items(str(tmp_path / "dataset"))] == ["1", "2", "new"]
    kept = gzip.decompress((tmp_path / "quarantine/items/part-00000.json.gz").read_bytes())
    assert [json.loads(line) for line in kept.splitlines()] == [
        {"file": "items/a.json.gz", "line": 4, "reason": "neither_json_nor_literal", "raw": "{broken"},
        {"file": "items/b.json.gz", "line": 2, "reason": "item_id_missing",
         "raw": '{"title": "no id"}'},
    ]  # fmt: skip


def test_a_thousand_mutations_lose_no_line_of_metadata(tmp_path: Path) -> None:
    texts = [repr(META_2014), *(json.dumps(r) for r in (META_2014, META_2018, META_2023, EVENT))]
    lines = [text.encode() for text in texts]
    odd = [mutated(lines, 125, seed) for seed in range(8)]
    raw = tmp_path / "raw" / "items"
    raw.mkdir(parents=True)
    for number, some in enumerate(odd):
        (raw / f"{number}.json.gz").write_bytes(gzip.compress(b"\n".join(some) + b"\n"))
    profile = run(tmp_path, str(tmp_path / "raw"))
    bad = sum(profile["quarantined"].values())
    kept = gzip.decompress((tmp_path / "quarantine/items/part-00000.json.gz").read_bytes())
    places = {(row["file"], row["line"]) for row in map(json.loads, kept.splitlines())}
    assert profile["lines"] == sum(line.count(b"\n") + 1 for some in odd for line in some)
    assert profile["lines"] - profile["blank"] - bad == profile["items"] + profile["duplicates"]
    assert len(places) == len(kept.splitlines()) == bad
    assert min(bad, profile["duplicates"]) > 300  # both outcomes were tried


def test_of_several_lines_the_fullest_wins_in_any_order(tmp_path: Path) -> None:
    lines = [
        {"asin": "1", "title": "A kettle"},
        {"asin": "1", "title": "A kettle, red", "price": 3},
        {"asin": "1", "title": "A kettle, blue", "price": 2},
        {"asin": "2"},
    ]
    written = set()
    for seed in range(4):
        random.Random(seed).shuffle(lines)
        root = tmp_path / str(seed)
        run(root, write_snapshot(root / "raw", a=lines[:2], b=lines[2:]))
        assert items(str(root / "dataset"))[0]["title"] == "A kettle, blue"
        written.add((root / "dataset/items_metadata/part-00000.parquet").read_bytes())
    assert len(written) == 1


def test_too_many_bad_lines_stop_the_run_and_are_kept(tmp_path: Path) -> None:
    snapshot = write_snapshot(tmp_path / "raw", a=[{"asin": "1"}, "{broken", {"asin": "2"}])
    with pytest.raises(BadDataError, match=r"1 of 3 lines .* neither_json_nor_literal .*line 2"):
        run(tmp_path, snapshot, budget=0.3)
    assert (tmp_path / "quarantine/items/part-00000.json.gz").is_file()


def test_a_torn_gzip_and_a_disguise_are_named(tmp_path: Path) -> None:
    snapshot = write_snapshot(tmp_path / "raw", a=[{"asin": str(n)} for n in range(5_000)])
    file = tmp_path / "raw/items/a.json.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadDataError, match=r"items/a\.json\.gz: expected a whole gzip"):
        run(tmp_path, snapshot)
    file.write_bytes(b"<!DOCTYPE html><html>404</html>")
    with pytest.raises(BadDataError, match="an HTML page"):
        run(tmp_path, snapshot)


def test_a_snapshot_without_metadata_has_no_table(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    dataset = write_dataset(tmp_path / "dataset", "1")
    assert job.write_items(str(tmp_path / "raw"), dataset, str(tmp_path / "q"), 0.01) is None
    assert table.read(f"{dataset}/items_metadata") is None


def test_processes_and_buckets_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [repr(META_2014 | {"asin": f"{n % 900:05d}", "price": n}) for n in range(2_000)]
    one, many = tmp_path / "one", tmp_path / "many"
    run(one, write_snapshot(one / "raw", a=lines))
    monkeypatch.setattr(job, "_BYTES_PER_BUCKET", 1_000)
    run(many, write_snapshot(many / "raw", a=lines[1_000:], b=lines[:1_000]), processes=2)
    assert len(list((many / "dataset/items_metadata").iterdir())) > 1
    assert items(str(many / "dataset")) == items(str(one / "dataset"))


def test_s3_is_read_in_pieces_and_a_lost_connection_costs_a_piece(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"asin": f"{n:05d}", "title": f"item {n * n}"} for n in range(3_000)]
    local = write_snapshot(tmp_path / "raw", a=lines)
    write_dataset(tmp_path / "known", "00001", "x")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        storage.upload(path, f"{s3}/{path.relative_to(tmp_path)}")
    monkeypatch.setattr(storage, "_PIECE_BYTES", 4_096)
    lost = []

    def lose_second_piece(self: StreamingBody, amt: int | None = None) -> bytes:
        lost.append(amt)
        if len(lost) == 2:
            raise ResponseStreamingError(error="connection lost")
        return read(self, amt)

    read = StreamingBody.read
    monkeypatch.setattr(StreamingBody, "read", lose_second_piece)
    profile = job.write_items(f"{s3}/raw", f"{s3}/known", f"{s3}/quarantine", 0.0)
    assert profile is not None
    assert len(lost) > 3
    assert (profile["items"], profile["known"]) == (3_000, 1)
    job.write_items(local, str(tmp_path / "known"), str(tmp_path / "quarantine"), 0.0)
    assert items(f"{s3}/known") == items(str(tmp_path / "known"))


@pytest.mark.parametrize(
    ("name", "lines", "distinct", "titles", "prices"),
    [("Gift_Cards", 1_547, 1_547, 1_547, 358), ("Magazine_Subscriptions", 3_385, 2_320, 157, 0)],
)
def test_real_metadata_gives_one_clean_row_per_item(
    tmp_path: Path,
    shared_data: Path,
    name: str,
    lines: int,
    distinct: int,
    titles: int,
    prices: int,
) -> None:
    folder = tmp_path / "raw/items"
    folder.mkdir(parents=True)
    (folder / "meta.json.gz").symlink_to(shared_data / f"amazon_2018/meta_{name}.json.gz")
    profile = run(tmp_path, str(tmp_path / "raw"), budget=0.0)
    assert (profile["lines"], profile["items"]) == (lines, distinct)
    assert profile["duplicates"] == lines - distinct
    assert (profile["with"]["title"], profile["with"]["price"]) == (titles, prices)
    for row in items(str(tmp_path / "dataset")):
        text = " ".join(filter(None, (row["title"], row["category"], row["brand"])))
        assert "<" not in text
        assert "&amp;" not in text
        assert row["category"] is not None


def test_worker_processes_load_without_spark(root: Path) -> None:
    import subprocess

    program = "import sys, recommender.metadata.worker\nassert 'pyspark' not in sys.modules\n"
    environment = {"PYTHONPATH": str(root / "include")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)

"""The job from raw files to a sealed dataset, and the message of each way to fail."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from recommender import manifest, schemas
from recommender.jobs import preprocess

DAY = 86_400
BEGIN = 1_500_000_000
EASY = {"min_user_interactions": 1, "min_item_interactions": 1}
WEEKS = {"holdout_days": 7, "validation_days": 7}

Record = dict[str, Any]
Writer = Callable[..., Path]
Config = Callable[..., str]

pytestmark = pytest.mark.usefixtures("spark")


def _events(days: int = 60, users: int = 12, items: int = 8) -> list[Record]:
    """Return one event per user and day; who takes what repeats every few days."""
    return [
        {
            "user_id": f"u{u:02d}",
            "item_id": f"i{(u * 3 + d * (1 + u % 3)) % items}",
            "timestamp": BEGIN + d * DAY + u,
        }
        for d in range(days)
        for u in range(users)
    ]


class Run:
    """Run the job over a folder and hold what came out."""

    def __init__(self, tmp_path: Path, config: str, *extra: str, name: str = "run") -> None:
        self.output = tmp_path / name / "dataset"
        self.quarantine = tmp_path / name / "quarantine"
        self.code = preprocess.main(
            [
                "--config", config, "--snapshot", str(tmp_path / "raw"),
                "--output", str(self.output), "--quarantine", str(self.quarantine), *extra,
            ]
        )  # fmt: skip

    @property
    def profile(self) -> Record:
        return dict(json.loads((self.output / "profile.json").read_text()))

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.output / name)

    def quarantined(self) -> list[Record]:
        files = sorted(self.quarantine.glob("part-*.json.gz"))
        return [
            json.loads(line) for f in files for line in gzip.decompress(f.read_bytes()).splitlines()
        ]

    def bytes_of(self, name: str) -> list[bytes]:
        return [f.read_bytes() for f in sorted((self.output / name).glob("*.parquet"))]


def _last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def _accounts(profile: Record) -> dict[str, int]:
    return {s["stage"]: s["rows"] for s in profile["stages"]}


def test_dataset_is_sealed_typed_sorted_and_accounted_for(
    tmp_path: Path, write_lines: Writer, write_config: Config
) -> None:
    write_lines(tmp_path / "raw" / "a.json.gz", [*_events(), "", "broken"])
    run = Run(tmp_path, write_config(**EASY, **WEEKS))
    assert run.code == 0
    sealed = manifest.verify(str(run.output), "dataset")
    assert sealed.about["users"] == 12
    assert {name.split("/")[0] for name in sealed.files} == {
        "train", "validation", "test", "users", "items", "profile.json",
    }  # fmt: skip
    for window in schemas.WINDOWS:
        table = run.table(window)
        types = [str(t) for t in table.dtypes]
        assert list(table.columns) == ["user", "item", "confidence", "timestamp"]
        assert types == ["int32", "int32", "float32", "int64"]
        assert table.equals(table.sort_values(["user", "item"], ignore_index=True))
        assert not table.duplicated(["user", "item"]).any()
    assert run.table("users")["user_id"].tolist() == [f"u{u:02d}" for u in range(12)]
    assert run.table("items")["item"].tolist() == list(range(8))
    profile, accounts = run.profile, _accounts(run.profile)
    assert accounts["raw"] == 60 * 12 + 2
    assert (
        accounts["raw"]
        == accounts["blank"] + sum(profile["quarantined"].values()) + accounts["parsed"]
    )
    assert profile["quarantined"] == {"not_an_object": 1}
    last = BEGIN + 59 * DAY + 11
    assert (profile["data_until"], profile["fit_until"]) == (last, last - 7 * DAY)
    assert profile["data_until_date"] == "2017-09-11T02:40:11Z"
    assert profile["windows"]["train"]["rows"] == len(run.table("train"))
    assert profile["verified"] == {"share": None}  # events do not tell


def test_profile_tells_repeats_verified_purchases_days_and_the_busiest(
    tmp_path: Path, write_lines: Writer, write_config: Config
) -> None:
    records = [
        {
            "reviewerID": e["user_id"],
            "asin": e["item_id"],
            "unixReviewTime": e["timestamp"],
            "verified": n % 4 == 0,
        }
        for n, e in enumerate(_events())
        if not BEGIN + 30 * DAY <= e["timestamp"] < BEGIN + 33 * DAY  # three days without a row
    ]
    write_lines(tmp_path / "raw" / "a.json", records + records[:5])
    run = Run(tmp_path, write_config(**EASY, **WEEKS))
    profile, train = run.profile, run.table("train")
    rows = pd.DataFrame(records + records[:5])
    time = rows["unixReviewTime"]
    rows["window"] = (time > profile["fit_until"]) * 1 + (time > profile["train_until"])
    kept = rows.groupby(["window", "reviewerID", "asin"]).agg(
        time=("unixReviewTime", "max"), verified=("verified", "max")
    )
    repeats = len(rows) - len(kept)
    assert profile["duplicates"] == {"rows": repeats, "share": round(repeats / len(rows), 6)}
    assert profile["verified"]["share"] == round(kept["verified"].mean(), 6)
    days = (kept["time"] // DAY).value_counts()
    assert profile["days"]["rows"] == [
        int(days.get(day, 0)) for day in range(days.index.min(), days.index.max() + 1)
    ]
    assert profile["days"]["first_date"] == str(pd.to_datetime(kept["time"].min(), unit="s").date())
    assert profile["windows"]["train"]["top_item_rows"] == train["item"].value_counts().max()
    assert profile["windows"]["train"]["top_user_rows"] == train["user"].value_counts().max()


def test_file_order_and_partitions_do_not_change_a_byte(
    tmp_path: Path, write_lines: Writer, write_config: Config, spark: SparkSession
) -> None:
    events = _events()
    write_lines(tmp_path / "raw" / "a.json", events)
    one = Run(tmp_path, write_config(**EASY, **WEEKS), name="one")
    (tmp_path / "raw" / "a.json").unlink()
    random.Random(3).shuffle(events)
    for part in range(5):
        write_lines(tmp_path / "raw" / f"{9 - part}.json.gz", events[part::5])
    spark.conf.set("spark.sql.files.maxPartitionBytes", "2000")
    try:
        five = Run(tmp_path, write_config(**EASY, **WEEKS), name="five")
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert (one.code, five.code) == (0, 0)
    for name in ("users", "items", *schemas.WINDOWS):
        assert len(one.bytes_of(name)) == 1
        assert one.bytes_of(name) == five.bytes_of(name)


def test_metadata_beside_the_raw_files_is_sealed_with_the_dataset(
    tmp_path: Path, write_lines: Writer, write_config: Config
) -> None:
    write_lines(tmp_path / "raw" / "a.json.gz", _events())
    about = [{"item_id": "i0", "title": "Tea"}, {"item_id": "new"}, "{'item_id': 'i1'}", "{cut"]
    write_lines(tmp_path / "raw" / "items" / "b.json", about)
    run = Run(tmp_path, write_config(**EASY, **WEEKS, bad_line_budget=0.5))
    assert run.code == 0
    assert sorted(run.table("items_metadata")["item_id"]) == ["i0", "i1", "new"]
    assert run.profile["items_metadata"]["known"] == 2
    assert "items_metadata/part-00000.parquet" in manifest.verify(str(run.output), "dataset").files
    again = Run(tmp_path, write_config(**EASY, **WEEKS))
    assert again.code == 3  # one line in four is bad, and the budget is 1 % again
    assert not (again.output / "items_metadata").exists()


def test_half_a_percent_of_broken_lines_goes_on_and_is_quarantined(
    tmp_path: Path, write_lines: Writer, write_config: Config
) -> None:
    lines: list[Any] = _events(days=50)
    for n in (100, 300, 500):
        lines[n - 1] = '{"user_id": "torn'
    write_lines(tmp_path / "raw" / "a.json.gz", lines)
    run = Run(tmp_path, write_config(**EASY, **WEEKS))
    assert run.code == 0
    assert [(r["file"], r["line"], r["reason"], r["raw"]) for r in run.quarantined()] == [
        ("a.json.gz", n, "not_json", '{"user_id": "torn') for n in (100, 300, 500)
    ]
    assert _accounts(run.profile)["parsed"] == 597


def test_five_percent_of_broken_lines_stop_and_are_named(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_lines(tmp_path / "raw" / "good.json.gz", _events(days=50))
    bad = [{"user_id": "u", "item_id": "i", "timestamp": "x" * 500}] * 30
    write_lines(tmp_path / "raw" / "bad.json", [*bad, "{"])
    run = Run(tmp_path, write_config(**EASY, **WEEKS))
    assert run.code == 3
    last = _last_line(capsys)
    assert "31 of 631 lines are bad (4.91%), expected at most 1.00%" in last
    assert "timestamp_unreadable (30), above all in bad.json (30)" in last
    assert "bad.json line 1: " in last
    assert len(last) < 1500  # long lines are shortened
    assert not run.output.exists()
    assert len(run.quarantined()) == 31


def test_retry_replaces_what_a_failed_run_left(
    tmp_path: Path, write_lines: Writer, write_config: Config
) -> None:
    write_lines(tmp_path / "raw" / "a.json.gz", [*_events(), "broken"])
    config = write_config(**EASY, **WEEKS)
    assert Run(tmp_path, config).code == 0
    again = Run(tmp_path, config)
    assert again.code == 0
    manifest.verify(str(again.output), "dataset")
    assert len(again.quarantined()) == 1
    # A run that fails leaves no older dataset to be taken for its own.
    write_lines(tmp_path / "raw" / "a.json.gz", ["broken"] * 60 + _events(days=1))
    failed = Run(tmp_path, config)
    assert failed.code == 3
    assert not (failed.output / "manifest.json").exists()


def test_gzip_cut_short_is_named_whatever_spark_says(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_lines(tmp_path / "raw" / "whole.json.gz", _events())
    cut = write_lines(tmp_path / "raw" / "cut.json.gz", _events())
    cut.write_bytes(cut.read_bytes()[:-100])
    assert Run(tmp_path, write_config(**EASY, **WEEKS)).code == 3
    last = _last_line(capsys)
    assert last == f"error: {cut}: gzip ends in mid-stream; upload it again"


def test_one_user_only_is_refused_with_the_count(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_lines(tmp_path / "raw" / "a.json", _events(users=1))
    assert Run(tmp_path, write_config(**EASY, **WEEKS)).code == 3
    last = _last_line(capsys)
    assert "expected at least 2 users and 2 items, found 1 and 8" in last


def test_minimum_support_that_leaves_nobody_names_the_settings(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_lines(tmp_path / "raw" / "a.json", _events())
    config = write_config(**WEEKS, min_user_interactions=100, min_item_interactions=1)
    assert Run(tmp_path, config).code == 3
    last = _last_line(capsys)
    assert "found 0 and 0" in last
    assert "12 users and 8 items" in last
    assert "preprocess.min_user_interactions 100" in last


def test_all_items_of_the_test_window_cold_is_refused(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = _events()
    for event in events:
        if event["timestamp"] > BEGIN + 45 * DAY:
            event["item_id"] = "brand new"
            event["timestamp"] += 7 * DAY  # so that all of them are in the test window
    write_lines(tmp_path / "raw" / "a.json", events)
    config = write_config(**EASY, holdout_days=15, validation_days=10)
    assert Run(tmp_path, config).code == 3
    last = _last_line(capsys)
    assert "nothing is left of the test window" in last
    assert "1 items unknown before the test window" in last


def test_snapshot_shorter_than_its_windows_is_refused(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_lines(tmp_path / "raw" / "a.json", _events(days=20))
    config = write_config(**EASY, holdout_days=10, validation_days=15)
    assert Run(tmp_path, config).code == 3
    assert "the train window is empty: the snapshot spans 19.0 days" in _last_line(capsys)


def test_times_after_the_snapshot_are_bad_and_move_no_window(
    tmp_path: Path, write_lines: Writer, write_config: Config
) -> None:
    events = _events()
    future = {**events[0], "timestamp": "2019-06-01T00:00:00Z"}
    write_lines(tmp_path / "raw" / "a.json", [*events, future])
    run = Run(tmp_path, write_config(**EASY, **WEEKS), "--snapshot-date", "2017-09-10")
    assert run.code == 0
    assert run.profile["quarantined"] == {"timestamp_in_future": 1}
    assert run.profile["data_until"] == BEGIN + 59 * DAY + 11  # a day late: still allowed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("raw", "raw/dataset", "q"), "lie apart"),
        (("raw", "raw", "q"), "lie apart"),
        (("raw", "out", "out/q"), "lie apart"),
        (("raw", "home", "q"), "holds files that this job never writes: thesis.txt"),
    ],
)
def test_nothing_but_own_output_is_ever_deleted(
    tmp_path: Path,
    write_lines: Writer,
    write_config: Config,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    raw = write_lines(tmp_path / "raw" / "a.json", _events())
    thesis = write_lines(tmp_path / "home" / "thesis.txt", ["years of work"])
    snapshot, output, quarantine = (str(tmp_path / name) for name in arguments)
    code = preprocess.main(
        [
            "--config", write_config(), "--snapshot", snapshot,
            "--output", output, "--quarantine", quarantine,
        ]
    )  # fmt: skip
    assert code == 3
    assert expected in _last_line(capsys)
    assert raw.exists()
    assert thesis.exists()


SAMPLES = {
    "amazon_2014": ("amazon_2014/Musical_Instruments_5.json.gz", 10_261),
    "gift_cards": ("amazon_2018/Gift_Cards_5.json.gz", 2_972),
    "magazines": ("amazon_2018/Magazine_Subscriptions_5.json.gz", 2_375),
    "amazon_2023": ("amazon_2023/reviews.jsonl.gz", 1_000),
}


def _expected(raw: Path, settings: Record) -> dict[str, Any]:
    """Compute the same dataset with pandas, step by step as the formulas say."""
    rows = [json.loads(line) for line in gzip.decompress(raw.read_bytes()).splitlines()]
    new = "parent_asin" in rows[0]
    frame = pd.DataFrame(
        {
            "user_id": [r["user_id"] if new else r["reviewerID"] for r in rows],
            "item_id": [r["parent_asin"] if new else r["asin"] for r in rows],
            "timestamp": [r["timestamp"] // 1000 if new else r["unixReviewTime"] for r in rows],
            "confidence": [
                2.0 if r.get("verified_purchase", r.get("verified")) else 1.0 for r in rows
            ],
        }
    )
    fit_until = frame["timestamp"].max() - settings["holdout_days"] * DAY
    train_until = fit_until - settings["validation_days"] * DAY
    frame["window"] = "test"
    frame.loc[frame["timestamp"] <= fit_until, "window"] = "validation"
    frame.loc[frame["timestamp"] <= train_until, "window"] = "train"
    frame = frame.groupby(["window", "user_id", "item_id"], as_index=False).max()
    pairs = frame.loc[frame["window"] != "test", ["user_id", "item_id"]].drop_duplicates()
    before = -1
    while len(pairs) != before:
        before = len(pairs)
        for key in ("item_id", "user_id"):
            pairs = pairs[pairs.groupby(key)[key].transform("size") >= settings["support"]]
    users = {u: n for n, u in enumerate(sorted(pairs["user_id"].unique()))}
    items = {i: n for n, i in enumerate(sorted(pairs["item_id"].unique()))}
    frame["user"], frame["item"] = frame["user_id"].map(users), frame["item_id"].map(items)
    warm = frame.dropna(subset=["user", "item"]).sort_values(["user", "item"])
    types = {"user": "int32", "item": "int32", "confidence": "float32", "timestamp": "int64"}
    windows: dict[str, Any] = {
        str(window): rows[list(types)].astype(types).reset_index(drop=True)
        for window, rows in warm.groupby("window")
    }
    return {"users": users, "items": items, "cold": len(frame) - len(warm), **windows}


@pytest.mark.parametrize("sample", SAMPLES)
def test_real_reviews_give_what_pandas_gives(
    tmp_path: Path, write_config: Config, shared_data: Path, sample: str
) -> None:
    name, rows = SAMPLES[sample]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / Path(name).name).symlink_to(shared_data / name)
    settings = {"holdout_days": 200, "validation_days": 200}
    support = 1 if sample == "amazon_2023" else 3
    config = write_config(**settings, min_user_interactions=support, min_item_interactions=support)
    run = Run(tmp_path, config)
    assert run.code == 0
    expected = _expected(shared_data / name, {**settings, "support": support})
    for window in schemas.WINDOWS:
        pd.testing.assert_frame_equal(run.table(window), expected[window])
    users, items = run.table("users"), run.table("items")
    assert dict(zip(users["user_id"], users["user"], strict=True)) == expected["users"]
    assert dict(zip(items["item_id"], items["item"], strict=True)) == expected["items"]
    accounts = _accounts(run.profile)
    assert (accounts["raw"], accounts["parsed"]) == (rows, rows)
    left_out = sum(
        accounts[f"{w} deduplicated"] - accounts[f"{w} encoded"] for w in schemas.WINDOWS
    )
    assert left_out == expected["cold"]

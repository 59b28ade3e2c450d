"""The pure steps, each on three or four rows that carry the case in their ids."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from py4j.protocol import Py4JNetworkError  # type: ignore[import-untyped]  # py4j has no types
from pyspark.sql import Column, DataFrame, SparkSession

from recommender.config import Preprocess
from recommender.engines import Engine, at_work, spark_engine, spark_session
from recommender.engines.spark_engine import SparkEngine
from recommender.errors import BadDataError, ConfigError
from recommender.preprocessing import profiling
from recommender.preprocessing.cleaning import deduplicate, minimum_support
from recommender.preprocessing.encoding import encode, known, shorten, user_and_item_ids
from recommender.preprocessing.splitting import DAY, Cuts, assign_windows, fit_pairs
from recommender.schemas import ITEMS, PARSED, USERS

CUTS = Cuts(train_until=100, fit_until=200, data_until=300)
Interaction = tuple[str, str, int, float]


def _frame(engine: Engine, *rows: Interaction) -> DataFrame:
    return engine.frame(rows, PARSED)


def _pairs(engine: Engine, *pairs: str) -> DataFrame:
    return _frame(engine, *((pair[0], pair[1], 1, 1.0) for pair in pairs))


def test_cuts_are_whole_days_back_from_the_latest_second() -> None:
    cuts = Cuts.back_from(100 * DAY + 7, Preprocess(holdout_days=3, validation_days=2))
    assert cuts == Cuts(95 * DAY + 7, 97 * DAY + 7, 100 * DAY + 7)


def test_window_includes_its_end_and_not_its_beginning(engine: Engine) -> None:
    times = {"first": 1, "train end": 100, "val 1": 101, "val end": 200, "test 1": 201, "T": 300}
    frame = _frame(engine, *((name, "i", time, 1.0) for name, time in times.items()))
    found = {r["user_id"]: r["window"] for r in assign_windows(frame, CUTS).collect()}
    assert found == {
        "first": "train", "train end": "train", "val 1": "validation", "val end": "validation",
        "test 1": "test", "T": "test",
    }  # fmt: skip


def test_duplicates_keep_the_latest_time_and_the_strongest_confidence(engine: Engine) -> None:
    frame = _frame(engine, ("u", "i", 10, 2.0), ("u", "i", 30, 1.0), ("u", "i", 30, 1.0))
    (row,) = deduplicate(assign_windows(frame, CUTS)).collect()
    assert (row["timestamp"], row["confidence"]) == (30, 2.0)


def test_repurchase_in_the_test_window_stays_in_training_as_well(engine: Engine) -> None:
    frame = _frame(engine, ("u", "i", 10, 1.0), ("u", "i", 150, 1.0), ("u", "i", 250, 1.0))
    rows = deduplicate(assign_windows(frame, CUTS)).collect()
    assert {(r["window"], r["timestamp"]) for r in rows} == {
        ("train", 10), ("validation", 150), ("test", 250),
    }  # fmt: skip


def test_minimum_support_goes_on_until_nothing_falls(engine: Engine) -> None:
    # c has one item only; without c, item z has one user; without z, b has one item; and so on.
    frame = _pairs(engine, "ax", "ay", "bx", "by", "cz", "bz", "dx", "dz")
    supported = minimum_support(frame, min_items=2, min_users=2, all_items=3)
    left = {r["user_id"] + r["item_id"] for r in supported.pairs.collect()}
    assert left == {"ax", "ay", "bx", "by", "bz", "dx", "dz"}
    assert (supported.before, supported.after, supported.stable) == (8, 7, True)
    chain = _pairs(engine, "ax", "bx", "by", "cy", "cz", "dz", "dw")
    assert minimum_support(chain, min_items=2, min_users=2, all_items=4).after == 0


def test_what_is_settled_on_spark_is_a_plan_of_its_own_and_leaves_no_file(
    spark: SparkSession,
) -> None:
    """A loop's plan would double in each round, and its files would fill the disk."""
    engine = SparkEngine(spark)
    frame = spark.range(1000).filter("id % 7 = 3")
    settled, rows = engine.settle(frame)
    again, _ = engine.settle(settled.filter("id > 500"))
    assert rows == 143
    assert [r["id"] for r in again.orderBy("id").limit(2).collect()] == [507, 514]
    files = again.inputFiles()
    assert files
    assert all(Path(urlparse(file).path).exists() for file in files)
    assert not set(files) & set(settled.inputFiles())
    engine.discard(settled)
    engine.discard(again)
    assert not any(Path(urlparse(file).path).exists() for file in files)
    forgotten, _ = engine.settle(frame)
    files = forgotten.inputFiles()
    engine.close()
    assert not any(Path(urlparse(file).path).exists() for file in files)


def test_a_cluster_without_a_file_system_of_its_own_is_refused(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node would write its part to its own disk, and the driver find its own only."""
    monkeypatch.setattr(spark.sparkContext, "master", "yarn")
    with pytest.raises(ConfigError, match=r"expected HDFS .* found none on yarn"):
        SparkEngine(spark).settle(spark.range(3))
    monkeypatch.setattr(spark_session, "has_hdfs", lambda _: True)
    expected = f"hdfs:///tmp/recommender-{spark.sparkContext.applicationId}"
    assert SparkEngine(spark)._scratch == expected


def test_a_file_system_that_has_gone_does_not_hide_why_the_job_failed(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(_self: SparkEngine, _uri: str) -> None:
        message = "Answer from Java side is empty"
        raise Py4JNetworkError(message)

    engine = SparkEngine(spark)
    engine.settle(spark.range(3))
    monkeypatch.setattr(SparkEngine, "_delete", gone)
    with pytest.raises(ZeroDivisionError), closing(engine):
        1 / 0  # noqa: B018 - the first failure
    assert "is left behind: Answer from Java side is empty" in caplog.text


def test_a_pair_of_both_windows_counts_once_towards_support(engine: Engine) -> None:
    frame = _frame(
        engine,
        ("a", "x", 10, 1.0), ("a", "x", 20, 1.0), ("a", "x", 150, 1.0), ("b", "x", 160, 1.0),
        ("b", "y", 250, 1.0),
    )  # fmt: skip
    fit = fit_pairs(deduplicate(assign_windows(frame, CUTS)), validation_rows=2)
    assert sorted(r["user_id"] + r["item_id"] for r in fit.collect()) == ["ax", "bx"]
    assert minimum_support(fit, min_items=2, min_users=1, all_items=1).after == 0


def test_test_window_gives_neither_ids_nor_support(engine: Engine) -> None:
    frame = _frame(
        engine,
        ("a", "x", 10, 1.0), ("b", "x", 150, 1.0),  # before the test window
        ("c", "x", 250, 1.0), ("a", "y", 250, 1.0), ("b", "y", 250, 1.0),
    )  # fmt: skip
    keyed = shorten(frame)
    windowed = deduplicate(assign_windows(keyed.rows, CUTS))
    supported = minimum_support(fit_pairs(windowed, 1), 1, 2, keyed.n_items)
    assert supported.after == 2
    users, items = user_and_item_ids(supported.pairs, keyed)
    assert [r["item_id"] for r in items.table.collect()] == ["x"]
    assert [r["user_id"] for r in users.table.collect()] == ["a", "b"]


@pytest.mark.parametrize("partitions", [1, 7])
def test_ids_are_dense_and_in_binary_order_for_any_partitioning(
    engine: Engine, spark: SparkSession, partitions: int
) -> None:
    names = ["B", "a", "Z", "é", "10", "9", "", "a b", "\U0001f600", "\uffff"]
    frame = _frame(engine, *((name, "i", 1, 1.0) for name in names)).repartition(partitions)
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", partitions)
    try:
        keyed = shorten(frame)
        ids, _ = user_and_item_ids(keyed.rows, keyed)
        table = {r["user_id"]: r["user"] for r in ids.table.collect()}
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", str(before))
    assert ids.count == len(names)
    # Binary order is UTF-8's: not the machine's locale, nor UTF-16's as in Java.
    assert table == {name: i for i, name in enumerate(sorted(names, key=str.encode))}


def test_ids_that_share_a_key_get_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first salt gives every id one key: the ids would be one user."""
    key = type(engine).key
    salts = []

    def poor(self: Engine, text: Column, salt: int) -> Column:
        salts.append(salt)
        return key(self, text, salt) * (0 if salt == 0 else 1)

    monkeypatch.setattr(type(engine), "key", poor)
    frame = _frame(engine, ("a", "x", 10, 1.0), ("b", "x", 20, 1.0), ("b", "y", 30, 1.0))
    keyed = shorten(frame)
    assert max(salts) == 1
    assert len({r["user_id"] for r in keyed.rows.collect()}) == 2
    users, items = user_and_item_ids(keyed.rows, keyed)
    assert sorted((r["user"], r["user_id"]) for r in users.table.collect()) == [(0, "a"), (1, "b")]
    assert items.count == 2
    monkeypatch.setattr(type(engine), "key", lambda self, text, salt: key(self, text, salt) * 0)
    with pytest.raises(BadDataError, match="expected a key of its own for each user_id"):
        shorten(frame)


def test_rows_of_unknown_users_or_items_are_counted_not_encoded(engine: Engine) -> None:
    frame = _frame(
        engine,
        ("a", "x", 10, 1.0), ("b", "y", 20, 1.0), ("a", "y", 150, 1.0),
        ("a", "y", 250, 1.0), ("new", "x", 251, 1.0), ("new", "new", 252, 1.0), ("b", "new", 253, 1.0),
    )  # fmt: skip
    keyed = shorten(frame)
    windowed = deduplicate(assign_windows(keyed.rows, CUTS))
    encoded = encode(windowed, *user_and_item_ids(fit_pairs(windowed, 1), keyed))
    rows = profiling.calendar(windowed).windows
    assert rows == {"train": 2, "validation": 1, "test": 4}
    cold = profiling.cold_facts(encoded, rows)
    assert cold["test"] == {"rows": 3, "users": 1, "items": 1, "row_share": 0.75}
    assert cold["validation"] == {"rows": 0, "users": 0, "items": 0, "row_share": 0.0}
    facts = profiling.window_facts(encoded)
    assert facts["test"] == {
        "rows": 1, "users": 1, "items": 1, "top_user_rows": 1, "top_item_rows": 1, "first": 250, "last": 250,
        "first_date": "1970-01-01T00:04:10Z", "last_date": "1970-01-01T00:04:10Z",
    }  # fmt: skip
    pairs = {(r["window"], r["user"], r["item"]) for r in known(encoded).collect()}
    assert pairs == {("train", 0, 0), ("train", 1, 1), ("validation", 0, 1), ("test", 0, 1)}


def test_ids_that_look_damaged_are_counted_and_kept(engine: Engine) -> None:
    users = engine.frame([(0, " a"), (1, "b\u00a0"), (2, "c d")], USERS)
    ids = ["0000031852", "31852", "7", "B000FA64PA", "B1 ", "12345678901"]
    items = engine.frame(list(enumerate(ids)), ITEMS)
    assert profiling.id_facts(users, items, digits=10) == {
        "users_with_blanks": 2,
        "items_with_blanks": 1,
        "items_without_zeros": 2,  # 31852 and 7
        "items_split_by_zeros": 1,  # 0000031852
    }
    assert profiling.id_facts(users, items, digits=None)["items_without_zeros"] is None


def _skewed(rows: int) -> list[Interaction]:
    """One user and one item with three tenths of the rows each, the rest even."""
    out = []
    for n in range(rows):
        user = "hot" if n % 10 < 3 else f"u{n % 4001}"
        item = "hot" if 3 <= n % 10 < 6 else f"i{n % 5003}"
        out.append((user, item, 50 + n % 97, 1.0))
    return out


def _largest_shares(spark: SparkSession, first: int) -> list[float]:
    """For each stage from the first on that read more than 5,000 records: the share of them that its largest task read."""
    java: Any = spark.sparkContext._jsc
    store, shares = java.sc().statusStore(), []
    for stage in range(first, java.sc().dagScheduler().nextStageId()):
        found = store.taskList(stage, 0, 1000)
        tasks = [found.apply(n) for n in range(found.size())]
        metrics = [task.taskMetrics().get() for task in tasks if task.taskMetrics().isDefined()]
        read = [
            m.shuffleReadMetrics().recordsRead() + m.inputMetrics().recordsRead() for m in metrics
        ]
        if len(read) > 1 and sum(read) > 5000:
            shares.append(max(read) / sum(read))
    return shares


@pytest.mark.parametrize("broadcast", [True, False])
def test_a_user_and_an_item_with_a_third_of_the_rows_make_no_task_run_alone(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, *, broadcast: bool
) -> None:
    settings = {
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
        # A file a task: kilobytes are not packed together here, as gigabytes would not be either.
        "spark.sql.files.openCostInBytes": "1GB",
    }
    if not broadcast:  # as with too many ids; what is skewed is told in kilobytes here
        monkeypatch.setattr(spark_engine, "_BROADCAST_ROWS", 0)
        settings |= {
            "spark.sql.autoBroadcastJoinThreshold": "-1",
            "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "4KB",
            "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "2",
            "spark.sql.adaptive.advisoryPartitionSizeInBytes": "8KB",
        }
    before = {key: spark.conf.get(key, None) for key in settings}
    first = spark.sparkContext._jsc.sc().dagScheduler().nextStageId()
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        with at_work(SparkEngine(spark)) as at:
            frame = at.frame(_skewed(20_000), PARSED).repartition(8)
            keyed = shorten(frame)
            windowed = at.keep(deduplicate(assign_windows(keyed.rows, CUTS)))
            fit = fit_pairs(windowed, profiling.calendar(windowed).windows["validation"])
            supported = minimum_support(fit, 2, 2, keyed.n_items)
            users, items = user_and_item_ids(supported.pairs, keyed)
            encoded = at.keep(encode(windowed, users, items))
            facts = profiling.window_facts(encoded)
            shares = _largest_shares(spark, first)
    finally:
        for key, kept in before.items():
            spark.conf.unset(key) if kept is None else spark.conf.set(key, kept)
    assert min(facts["train"][f"top_{what}_rows"] for what in ("user", "item")) > 1000
    assert len(shares) > 5
    # A fair task has an eighth; by key one would have three tenths and more.
    assert max(shares) < 0.25

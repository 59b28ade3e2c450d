"""Spark and DuckDB give the same rows, to the last one, whatever the lines look like."""

from __future__ import annotations

import datetime as dt
import gzip
import importlib.util
import json
import os
import random
import signal
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from mutations import mutated
from pyspark.sql import SparkSession

from recommender import schemas, storage
from recommender.config import Preprocess
from recommender.engines import Engine, at_work, current, duckdb_engine
from recommender.engines.choice import Choice, choose, choose_again, go_on
from recommender.engines.spark_engine import SparkEngine
from recommender.errors import StorageError, TornFileError
from recommender.jobs import preprocess
from recommender.sources import SOURCES
from recommender.sources.lines import parse_lines
from recommender.sources.quarantine import (
    Tally,
    count_lines,
    torn_files_named,
    write_quarantine,
)
from recommender.sources.snapshot import open_snapshot

LATEST = 1_900_000_000
NOW = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp())
SAMPLES = {
    "amazon_2014": "amazon_2014/Musical_Instruments_5.json.gz",
    "amazon_2018": "amazon_2018/Magazine_Subscriptions_5.json.gz",
    "amazon_2023": "amazon_2023/reviews.jsonl.gz",
}


@pytest.fixture(scope="session")
def generator(root: Path) -> ModuleType:
    """Import the benchmarks' generator of review-like data."""
    spec = importlib.util.spec_from_file_location("generate", root / "benchmarks" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def _events(lines: int) -> list[bytes]:
    """Return events in all notations of time, with and without a weight."""
    rng = random.Random(5)
    out = []
    for n in range(lines):
        second = NOW - rng.randrange(200 * 86_400)
        moment = dt.datetime.fromtimestamp(second, dt.UTC)
        times = [second, second * 1000, str(second), second + 0.25, moment.isoformat()]
        times += [moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d")]
        event = {"user_id": rng.randrange(60), "item_id": f"0{rng.randrange(40)}"}
        event["timestamp"] = times[n % len(times)]
        weights: list[Any] = [2.5, "3", 0, -1, "x", 1e39, 1e-60, None, 1.1, 7]
        if n % 3 == 0:
            event["weight"] = weights[rng.randrange(len(weights))]
        out.append(json.dumps(event).encode())
    return out


def _raw(generator: ModuleType, source: str, folder: Path) -> None:
    """Write a snapshot with every kind of dirt: a plain file and a gzip."""
    folder.mkdir(parents=True)
    if source == "events":
        text = b"\n".join(_events(2_000))
    else:
        model = generator.Model(source, rows=2_000, users=80, items=60, dirt=0.2, seed=3)
        text, kinds = generator.block(model, 0)
        assert set(kinds) == set(generator.DIRT)
    half = text.find(b"\n", len(text) // 2) + 1
    (folder / "a b.json").write_bytes(text[:half])
    (folder / "c.json.gz").write_bytes(gzip.compress(text[half:]))


@pytest.mark.parametrize("source", SOURCES)
def test_both_engines_and_one_after_the_other_make_the_same_dataset_quarantine_and_profile(
    tmp_path: Path, spark: SparkSession, generator: ModuleType, source: str
) -> None:
    _raw(generator, source, tmp_path / "raw")
    config = tmp_path / "config.yaml"
    config.write_text("{name: t, description: d, dataset: t, preprocess: {bad_line_budget: 1}}")
    tiny = 1e-9  # GiB: no text is small enough for DuckDB, and no more lines than those of the snapshot
    ways = {
        ("spark", "spark"): ["engine=spark"],
        ("duckdb", "duckdb"): ["engine=duckdb"],
        ("spark", "duckdb"): [f"duckdb_up_to_gib={tiny}", "duckdb_up_to_lines=3000"],
        ("spark", "spark again"): [f"duckdb_up_to_gib={tiny}", "duckdb_up_to_lines=1999"],
    }
    found = []
    for engines, options in ways.items():
        out, kept = tmp_path / " ".join(engines) / "dataset", tmp_path / " ".join(engines) / "bad"
        arguments = ["--config", str(config), "--snapshot", str(tmp_path / "raw")]
        arguments += ["--output", str(out), "--quarantine", str(kept)]
        arguments += ["--snapshot-date", "2024-06-01"]
        for option in (*options, "min_user_interactions=3"):
            arguments += ["--set", f"preprocess.{option}"]
        assert preprocess.main(arguments) == 0
        profile = json.loads((out / "profile.json").read_text())
        told = profile.pop("engine")
        assert (told["reading"]["name"], told["rest"]["name"]) == (
            engines[0],
            engines[1].split()[0],
        )
        assert profile.pop("seconds") > 0
        for key in ("engine", "duckdb_up_to_gib", "duckdb_up_to_lines"):
            profile["settings"].pop(key)
        bad = [
            json.loads(line)
            for f in sorted(kept.glob("part-*.json.gz"))
            for line in gzip.decompress(f.read_bytes()).splitlines()
        ]
        tables = {n: pd.read_parquet(out / n) for n in (*schemas.WINDOWS, "users", "items")}
        found.append((profile, bad, tables))
    (profile, bad, tables), *others = found
    assert len(bad) == sum(profile["quarantined"].values()) > 30
    assert min(map(len, tables.values())) > 10
    for profile_2, bad_2, tables_2 in others:
        assert profile == profile_2
        assert bad == bad_2
        for name, table in tables.items():
            pd.testing.assert_frame_equal(table, tables_2[name])


Settled = list[tuple[str, int, str | None, tuple[Any, ...]]]


def _settle(
    engine: Engine, raw: Path, source: str, quarantine: Path
) -> tuple[Settled, Tally, list[Any]]:
    """Return what became of each line by file and number, the tally, and the quarantine's lines."""
    with at_work(engine):
        read = engine.read(storage.list_files(str(raw)))
        parsed = parse_lines(read, SOURCES[source], Preprocess(), LATEST)
        tally = count_lines(parsed)
        write_quarantine(parsed, tally, str(quarantine))
        good = [
            tuple(row)
            for frame in (parsed.first, parsed.again)
            if frame is not None
            for row in frame.filter("reason is null")
            .select("file", "block", "position", "user_id", "item_id", "timestamp", "confidence")
            .collect()
        ]
        parsed.release()
    places = [(f, tally.first_lines[f, b] + p, None, tuple(v)) for f, b, p, *v in good]
    bad = [
        json.loads(line)
        for f in sorted(quarantine.glob("part-*.json.gz"))
        for line in gzip.decompress(f.read_bytes()).splitlines()
    ]
    return sorted(places), tally, bad


@pytest.mark.parametrize("source", SOURCES)
def test_a_thousand_mutations_lose_no_line_and_part_no_engines(
    tmp_path: Path, spark: SparkSession, shared_data: Path, source: str
) -> None:
    if source == "events":
        lines = _events(100)
    else:
        text = gzip.decompress((shared_data / SAMPLES[source]).read_bytes())
        lines = text.splitlines()[:300]
    odd = mutated(lines, 250, seed=len(source))
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "plain.json").write_bytes(b"\n".join(odd[:125]))
    (raw / "packed.json.gz").write_bytes(gzip.compress(b"\n".join(odd[125:]) + b"\n"))
    on_spark = _settle(SparkEngine(spark), raw, source, tmp_path / "q-spark")
    with duckdb_engine.engine() as engine:
        on_duckdb = _settle(engine, raw, source, tmp_path / "q-duckdb")
    (good, tally, bad), (good_2, tally_2, bad_2) = on_spark, on_duckdb
    counted = sum(line.count(b"\n") + 1 for line in odd)
    assert tally.raw == counted
    assert tally.raw == tally.good + tally.blank + len(bad)
    assert (len(good), len(bad)) == (tally.good, tally.bad.total())
    assert good == good_2
    assert bad == bad_2
    assert (tally.bad, tally.blank) == (tally_2.bad, tally_2.blank)
    assert min(tally.good, len(bad)) > 50  # both outcomes were tried


def test_auto_chooses_by_the_size_of_the_text_and_says_why() -> None:
    settings = Preprocess(duckdb_up_to_gib=2)
    small = choose(settings, plain_bytes=1 << 30, gzip_bytes=100 << 20)
    assert small.engine == "duckdb"
    assert small.reason == (
        "about 1.98 GiB of text, within the 2 GiB of preprocess.duckdb_up_to_gib"
    )
    large = choose(settings, plain_bytes=1 << 30, gzip_bytes=103 << 20)
    assert large.engine == "spark"
    assert "more than the 2 GiB" in large.reason
    forced = choose(Preprocess(engine="spark"), 1, 0)
    assert (forced.engine, forced.reason) == ("spark", "preprocess.engine is spark")


def test_auto_chooses_again_by_the_lines_that_were_read() -> None:
    settings = Preprocess(duckdb_up_to_lines=1_500)
    first = Choice("spark", "large", 7)
    few, many = (choose_again(settings, first, lines, 1, 1 << 40) for lines in (1_500, 1_501))
    assert few == Choice(
        "duckdb", "1,500 lines were read, within the 1,500 of preprocess.duckdb_up_to_lines", 7
    )
    assert (many.engine, "more than" in many.reason) == ("spark", True)


def test_what_would_fill_the_disk_here_stays_with_spark() -> None:
    first = Choice("spark", "large", 7)
    full, fits = (
        choose_again(Preprocess(), first, 1_000, 3 << 30, free)
        for free in ((12 << 30) - 1, 12 << 30)
    )
    assert (full.engine, fits.engine) == ("spark", "duckdb")
    assert "but 12.0 GiB of disk would be needed here and 12.0 are free in" in full.reason


def test_lines_that_are_lost_on_the_way_end_the_run(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_text("oops\n" * 3)
    with closing(SparkEngine(spark)) as reader, at_work(reader):
        read = reader.read(storage.list_files(str(tmp_path)))
        parsed = parse_lines(read, SOURCES["events"], Preprocess(), LATEST)
        assert reader.settled_size(parsed.first)[0] == 3
        monkeypatch.setattr(reader, "settled_size", lambda _: (4, 1))
        with (
            pytest.raises(StorageError, match="expected the 4 lines that Spark has read, found 3"),
            go_on(Preprocess(), Choice("spark", "", 0), parsed),
        ):
            pass


def test_released_lines_stay_for_what_may_be_computed_again_and_discarded_ones_go(
    tmp_path: Path, spark: SparkSession
) -> None:
    (tmp_path / "a.json").write_text("oops\n" * 3)
    with closing(SparkEngine(spark)) as reader, at_work(reader):
        read = reader.read(storage.list_files(str(tmp_path)))
        parsed = parse_lines(read, SOURCES["events"], Preprocess(), LATEST)
        kept = reader.keep(parsed.first.groupBy("reason").count())
        assert kept.count() == 1
        parsed.release()
        kept.unpersist(blocking=True)  # as when the node that held it is lost
        assert kept.count() == 1
        reader.discard(parsed.first)
        with pytest.raises(Exception, match="does not exist"):
            parsed.first.collect()


def test_a_worker_that_is_killed_is_no_torn_file(tmp_path: Path, spark: SparkSession) -> None:
    def die(_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
        yield  # a generator, as Spark asks for

    (tmp_path / "a.json").write_text("oops")
    with closing(SparkEngine(spark)) as reader, at_work(reader):
        frame = reader.read(storage.list_files(str(tmp_path))).mapInArrow(die, "raw string")
        with pytest.raises(Exception, match="Python worker exited") as failed, reader.read_errors():
            frame.collect()
        assert not isinstance(failed.value, TornFileError)


def test_a_suspicion_that_no_file_confirms_gives_way_to_what_failed(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"\n".join(_events(3))))
    snapshot = open_snapshot(str(tmp_path), "events")
    suspected = TornFileError("java.io.EOFException")
    with (
        duckdb_engine.engine() as made,
        at_work(made),
        pytest.raises(RuntimeError, match="what failed"),
        torn_files_named(snapshot),
    ):
        raise suspected from RuntimeError("what failed")


def test_many_bad_lines_do_not_ask_for_the_names_of_columns_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    with duckdb_engine.engine() as made, at_work(made):
        frame = made.frame([(n, "x") for n in range(1_000)], {"a": "bigint", "b": "string"})
        kind = type(frame)
        before: Any = kind.columns

        def counted(self: Any) -> list[str]:
            asked.append(1)
            return list(before.fget(self))

        monkeypatch.setattr(kind, "columns", property(counted))
        made.write_lines(frame, 1_000, str(tmp_path / "bad"))
    (part,) = (tmp_path / "bad").glob("part-*.json.gz")
    assert len(gzip.decompress(part.read_bytes()).splitlines()) == 1_000
    assert len(asked) < 20


def test_lines_that_are_handed_over_leave_spark_and_then_the_disk(
    tmp_path: Path, spark: SparkSession, generator: ModuleType
) -> None:
    _raw(generator, "events", tmp_path / "raw")
    settings, choice = Preprocess(), Choice("spark", "asked for", 0)
    with closing(SparkEngine(spark)) as reader, at_work(reader):
        parsed = parse_lines(
            reader.read(storage.list_files(str(tmp_path / "raw"))),
            SOURCES["events"], settings, LATEST,
        )  # fmt: skip
        scratch = Path(urlsplit(parsed.first.inputFiles()[0]).path).parent
        assert list(scratch.glob("*.parquet"))
        with go_on(settings, choice, parsed) as (then, handed):
            assert then.engine == "duckdb"
            assert not scratch.exists()
            taken = current()
            assert isinstance(taken, duckdb_engine.DuckDbEngine)
            assert len(_parquet_below(taken)) > 0
            assert count_lines(handed).raw == 2_000
            handed.release()
            assert _parquet_below(taken) == []


def _parquet_below(engine: duckdb_engine.DuckDbEngine) -> list[Path]:
    return list(engine.folder().parent.rglob("*.parquet"))


def test_engine_spark_stays_with_spark(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("oops")
    settings = Preprocess(engine="spark")
    with closing(SparkEngine(spark)) as reader, at_work(reader):
        read = reader.read(storage.list_files(str(tmp_path)))
        parsed = parse_lines(read, SOURCES["events"], settings, LATEST)
        choice = Choice("spark", "preprocess.engine is spark", 0)
        with go_on(settings, choice, parsed) as (then, same):
            assert (then, same) == (choice, parsed)
            assert current() is reader


def test_duckdb_takes_no_more_than_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_engine, "memory_bytes", lambda: 4 << 30)
    for free, expected in ((8 << 30, "2.0 GiB"), (400 << 20, "300.0 MiB")):
        monkeypatch.setattr(duckdb_engine, "free_memory_bytes", lambda free=free: free)
        with duckdb_engine.engine() as made:
            row = made.connection.execute("SELECT current_setting('memory_limit')").fetchone()
        assert row == (expected,)

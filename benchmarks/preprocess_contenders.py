"""Do the work of preprocessing in the ways people write it by hand, for ``preprocess.py``.

All of them: parse 2018 reviews, cut time into three windows, keep one row of a user and item in a
window, take the 5-core of what precedes the test window, number users and items, write Parquet.
None says why a line is bad, keeps it, counts what was cold, or writes a profile and a manifest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

DAY = 86_400
HOLDOUT, VALIDATION, SUPPORT = 28, 28, 5
FILES = "part-*.json"  # as generate.py names them; beside them lies its summary
KEYS = ["reviewerID", "asin", "unixReviewTime", "verified"]


def published_loop(raw: Path, out: Path) -> None:
    """Use the code that the page of the 2018 release publishes, then pandas: the common script.

    Its ``getDF`` (https://nijianmo.github.io/amazon/): a dictionary of each line, all in one dictionary,
    ``from_dict`` by index. Bad lines would end it; these files have none.
    """
    import pandas as pd

    lines = {}
    for path in sorted(raw.glob(FILES)):
        with path.open("rb") as file:
            for line in file:
                lines[len(lines)] = json.loads(line)
    frame = pd.DataFrame.from_dict(lines, orient="index")
    del lines
    _in_pandas(frame[KEYS], out)


def pandas_loop(raw: Path, out: Path) -> None:
    """Append four fields of each line to a list, then use pandas: the common script, made lean."""
    import pandas as pd

    rows = []
    for path in sorted(raw.glob(FILES)):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    rows.append([record.get(key) for key in KEYS])
                except ValueError:
                    continue
    _in_pandas(pd.DataFrame(rows, columns=KEYS), out)


def _in_pandas(frame: pd.DataFrame, out: Path) -> None:
    import pandas as pd

    frame = frame.set_axis(["user_id", "item_id", "timestamp", "verified"], axis=1)
    frame["confidence"] = frame.pop("verified").map({True: 2.0}).fillna(1.0).astype("float32")
    fit_until = frame["timestamp"].max() - HOLDOUT * DAY
    frame["window"] = "train"
    frame.loc[frame["timestamp"] > fit_until - VALIDATION * DAY, "window"] = "validation"
    frame.loc[frame["timestamp"] > fit_until, "window"] = "test"
    frame = frame.groupby(["window", "user_id", "item_id"], as_index=False).max()
    pairs = frame.loc[frame["window"] != "test", ["user_id", "item_id"]].drop_duplicates()
    before = -1
    while len(pairs) != before:
        before = len(pairs)
        for key in ("item_id", "user_id"):
            pairs = pairs[pairs.groupby(key)[key].transform("size") >= SUPPORT]
    for name, index in (("user_id", "user"), ("item_id", "item")):
        ids = pd.DataFrame({name: sorted(pairs[name].unique())})
        ids[index] = range(len(ids))
        ids.to_parquet(out / f"{index}s.parquet")
        frame = frame.merge(ids, on=name)
    for window, part in frame.groupby("window"):
        columns = ["user", "item", "confidence", "timestamp"]
        part[columns].sort_values(["user", "item"]).to_parquet(out / f"{window}.parquet")


def polars(raw: Path, out: Path) -> None:
    """Use Polars, lazily, as its guide says."""
    import polars as pl

    schema = {
        "reviewerID": pl.String, "asin": pl.String, "unixReviewTime": pl.Int64,
        "verified": pl.Boolean,
    }  # fmt: skip
    rows = pl.scan_ndjson(raw / FILES, schema=schema, ignore_errors=True).select(
        pl.col("reviewerID").alias("user_id"),
        pl.col("asin").alias("item_id"),
        pl.col("unixReviewTime").alias("timestamp"),
        pl.when("verified").then(2.0).otherwise(1.0).cast(pl.Float32).alias("confidence"),
    )
    frame = rows.drop_nulls(["user_id", "item_id", "timestamp"]).collect(engine="streaming")
    fit_until = int(frame.select(pl.max("timestamp")).item()) - HOLDOUT * DAY
    window = (
        pl.when(pl.col("timestamp") <= fit_until - VALIDATION * DAY)
        .then(pl.lit("train"))
        .when(pl.col("timestamp") <= fit_until)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("test"))
    )
    frame = (
        frame.lazy()
        .group_by(window.alias("window"), "user_id", "item_id")
        .agg(pl.max("timestamp"), pl.max("confidence"))
        .collect(engine="streaming")
    )
    pairs = frame.filter(pl.col("window") != "test").select("user_id", "item_id").unique()
    before = -1
    while pairs.height != before:
        before = pairs.height
        pairs = pairs.filter(pl.len().over("item_id") >= SUPPORT)
        pairs = pairs.filter(pl.len().over("user_id") >= SUPPORT)
    for name, index in (("user_id", "user"), ("item_id", "item")):
        ids = pairs.select(name).unique().sort(name).with_row_index(index)
        ids.write_parquet(out / f"{index}s.parquet")
        frame = frame.join(ids, on=name)
    for which in ("train", "validation", "test"):
        part = frame.filter(pl.col("window") == which).sort("user", "item")
        part.select("user", "item", "confidence", "timestamp").write_parquet(
            out / f"{which}.parquet"
        )


def plain_duckdb(raw: Path, out: Path) -> None:
    """Use DuckDB's own reader and SQL."""
    import duckdb

    db = duckdb.connect(str(out / "work.duckdb"))
    columns = (
        "{reviewerID: 'VARCHAR', asin: 'VARCHAR', unixReviewTime: 'BIGINT', verified: 'BOOLEAN'}"
    )
    db.execute(f"""
        CREATE TABLE raw AS SELECT reviewerID AS user_id, asin AS item_id, unixReviewTime AS timestamp,
          CASE WHEN verified THEN 2.0::FLOAT ELSE 1.0::FLOAT END AS confidence
        FROM read_json('{raw}/{FILES}', format = 'newline_delimited', ignore_errors = true,
          columns = {columns})
        WHERE reviewerID IS NOT NULL AND asin IS NOT NULL AND unixReviewTime IS NOT NULL""")  # noqa: S608
    (last,) = db.execute("SELECT max(timestamp) FROM raw").fetchone() or (0,)
    fit_until = last - HOLDOUT * DAY
    db.execute(f"""
        CREATE TABLE frame AS SELECT CASE WHEN timestamp <= {fit_until - VALIDATION * DAY} THEN 'train'
            WHEN timestamp <= {fit_until} THEN 'validation' ELSE 'test' END AS win, user_id, item_id,
          max(timestamp) AS timestamp, max(confidence) AS confidence
        FROM raw GROUP BY ALL""")  # noqa: S608
    db.execute(
        "CREATE TABLE pairs AS SELECT DISTINCT user_id, item_id FROM frame WHERE win <> 'test'"
    )
    before, left = -1, db.execute("SELECT count(*) FROM pairs").fetchone()
    while left != before:
        before = left
        for key in ("item_id", "user_id"):
            db.execute(f"""CREATE OR REPLACE TABLE pairs AS SELECT * FROM pairs WHERE {key} IN
                (SELECT {key} FROM pairs GROUP BY {key} HAVING count(*) >= {SUPPORT})""")  # noqa: S608
        left = db.execute("SELECT count(*) FROM pairs").fetchone()
    for name, index in (("user_id", "user"), ("item_id", "item")):
        db.execute(f"""CREATE TABLE {index}s AS SELECT {name},
            (row_number() OVER (ORDER BY {name}) - 1)::INT AS "{index}"
            FROM (SELECT DISTINCT {name} FROM pairs)""")  # noqa: S608
        db.execute(f"COPY {index}s TO '{out}/{index}s.parquet'")
    for window in ("train", "validation", "test"):
        db.execute(f"""COPY (SELECT "user", item, confidence, timestamp FROM frame JOIN users USING (user_id)
            JOIN items USING (item_id) WHERE win = '{window}' ORDER BY ALL)
            TO '{out}/{window}.parquet'""")  # noqa: S608


def minimal_spark(raw: Path, out: Path) -> None:
    """Parse, take out duplicates and write with Spark: a smaller job, without windows or ids."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.config("spark.driver.memory", "2g")
    spark = builder.config("spark.ui.enabled", "false").getOrCreate()
    schema = "reviewerID string, asin string, unixReviewTime long, verified boolean"
    frame = spark.read.schema(schema).json(str(raw / FILES))
    frame = frame.dropDuplicates(["reviewerID", "asin"])
    frame.write.mode("overwrite").parquet(str(out / "reviews"))
    spark.stop()


def plain_spark(raw: Path, out: Path) -> None:
    """Do all of the work with Spark's DataFrames as one writes it down, each round kept and its plan cut."""
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

    builder = SparkSession.builder.config("spark.driver.memory", "2g")
    spark = builder.config("spark.ui.enabled", "false").getOrCreate()
    schema = "reviewerID string, asin string, unixReviewTime long, verified boolean"
    rows = (
        spark.read.schema(schema)
        .json(str(raw / FILES))
        .select(
            F.col("reviewerID").alias("user_id"),
            F.col("asin").alias("item_id"),
            F.col("unixReviewTime").alias("timestamp"),
            F.when(F.col("verified"), 2.0).otherwise(1.0).cast("float").alias("confidence"),
        )
    )
    rows = rows.dropna(subset=["user_id", "item_id", "timestamp"]).persist()
    fit_until = rows.agg(F.max("timestamp")).collect()[0][0] - HOLDOUT * DAY
    window = F.when(F.col("timestamp") <= fit_until - VALIDATION * DAY, "train")
    window = window.when(F.col("timestamp") <= fit_until, "validation").otherwise("test")
    frame = rows.groupBy(window.alias("window"), "user_id", "item_id")
    frame = frame.agg(
        F.max("timestamp").alias("timestamp"), F.max("confidence").alias("confidence")
    ).persist()
    pairs = frame.filter("window <> 'test'").select("user_id", "item_id").distinct()
    before, left = -1, pairs.count()
    while left != before:
        before = left
        for key in ("item_id", "user_id"):
            often = pairs.groupBy(key).count().filter(F.col("count") >= SUPPORT)
            pairs = pairs.join(often.select(key), key)
        pairs = pairs.localCheckpoint()
        left = pairs.count()
    for name, index in (("user_id", "user"), ("item_id", "item")):
        ids = pairs.select(name).distinct()
        ids = ids.withColumn(index, F.row_number().over(Window.orderBy(name)) - 1).persist()
        ids.write.parquet(str(out / f"{index}s"))
        frame = frame.join(ids, name)
    for which in ("train", "validation", "test"):
        part = frame.filter(F.col("window") == which).select(
            "user", "item", "confidence", "timestamp"
        )
        part.orderBy("user", "item").write.parquet(str(out / which))
    spark.stop()


def _ours(raw: Path, out: Path, *settings: str) -> None:
    """Run the product's own job."""
    from recommender.jobs import preprocess

    config = out / "config.yaml"
    config.write_text("{name: b, description: b, dataset: b}")
    arguments = ["--config", str(config), "--snapshot", str(raw)]
    arguments += ["--output", str(out / "dataset"), "--quarantine", str(out / "quarantine")]
    for setting in settings:
        arguments += ["--set", f"preprocess.{setting}"]
    if preprocess.main(arguments):
        sys.exit(1)


def ours_duckdb(raw: Path, out: Path) -> None:
    """Run the product's own job on DuckDB."""
    _ours(raw, out, "engine=duckdb")


def ours_spark(raw: Path, out: Path) -> None:
    """Run the product's own job on Spark."""
    _ours(raw, out, "engine=spark")


def ours_auto(raw: Path, out: Path) -> None:
    """Run the product's own job as it goes beyond the text that DuckDB reads: Spark reads, DuckDB goes on."""
    _ours(raw, out, "engine=auto", "duckdb_up_to_gib=0.001")


CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    run.__name__: run
    for run in (
        published_loop,
        pandas_loop,
        polars,
        plain_duckdb,
        ours_duckdb,
        minimal_spark,
        plain_spark,
        ours_spark,
        ours_auto,
    )
}

if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))

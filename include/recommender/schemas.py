"""State the schema of every frame that crosses a door: read, written or handed to another stage."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention
from pyspark.sql import types as T  # noqa: N812 - Spark's own convention

from recommender import columns as c

WINDOW = "window"  # train, validation or test
TRAIN, VALIDATION, TEST = "train", "validation", "test"
WINDOWS = (TRAIN, VALIDATION, TEST)

# A parsed interaction, ids still as written in the raw line.
PARSED = T.StructType(
    [
        T.StructField(c.USER_ID, T.StringType()),
        T.StructField(c.ITEM_ID, T.StringType()),
        T.StructField(c.TIMESTAMP, T.LongType()),
        T.StructField(c.CONFIDENCE, T.FloatType()),
    ]
)

# A line of train/, validation/ and test/: one per (user, item), sorted by both.
INTERACTIONS = T.StructType(
    [
        T.StructField(c.USER, T.IntegerType()),
        T.StructField(c.ITEM, T.IntegerType()),
        T.StructField(c.CONFIDENCE, T.FloatType()),
        T.StructField(c.TIMESTAMP, T.LongType()),
    ]
)

# A line of users/ and items/, sorted by index.
USERS = T.StructType(
    [T.StructField(c.USER, T.IntegerType()), T.StructField(c.USER_ID, T.StringType())]
)
ITEMS = T.StructType(
    [T.StructField(c.ITEM, T.IntegerType()), T.StructField(c.ITEM_ID, T.StringType())]
)

# A line of quarantine/.
QUARANTINE = T.StructType(
    [
        T.StructField(c.FILE, T.StringType()),
        T.StructField(c.LINE, T.LongType()),
        T.StructField(c.REASON, T.StringType()),
        T.StructField(c.RAW, T.StringType()),
    ]
)


def conform(frame: DataFrame, schema: T.StructType) -> DataFrame:
    """Select exactly the columns of a schema, in its order and types."""
    return frame.select(*(F.col(f.name).cast(f.dataType) for f in schema.fields))

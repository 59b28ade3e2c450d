"""State the schema of every frame that crosses a door: read, written or handed to another stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recommender import columns as c

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Schema = dict[str, str]
"""Column -> type, in order; the names of types are those that every engine knows."""

WINDOW = "window"  # train, validation or test
TRAIN, VALIDATION, TEST = "train", "validation", "test"
WINDOWS = (TRAIN, VALIDATION, TEST)

# A parsed interaction, ids still as written in the raw line.
PARSED: Schema = {
    c.USER_ID: "string",
    c.ITEM_ID: "string",
    c.TIMESTAMP: "bigint",
    c.CONFIDENCE: "float",
}

# A line of train/, validation/ and test/: one per (user, item), sorted by both.
INTERACTIONS: Schema = {c.USER: "int", c.ITEM: "int", c.CONFIDENCE: "float", c.TIMESTAMP: "bigint"}

# A line of users/ and items/, sorted by index.
USERS: Schema = {c.USER: "int", c.USER_ID: "string"}
ITEMS: Schema = {c.ITEM: "int", c.ITEM_ID: "string"}

# A line of quarantine/.
QUARANTINE: Schema = {c.FILE: "string", c.LINE: "bigint", c.REASON: "string", c.RAW: "string"}


def conform(frame: DataFrame, schema: Schema) -> DataFrame:
    """Select exactly the columns of a schema, in its order and types."""
    return frame.select(*(frame[name].cast(kind) for name, kind in schema.items()))


def ddl(schema: Schema) -> str:
    """Write a schema as SQL column definitions."""
    return ", ".join(f"{name} {kind}" for name, kind in schema.items())

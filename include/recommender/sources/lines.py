"""Read raw lines with Spark and sort them into good, bad (with a reason) and blank."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender import columns as c
from recommender.config import Preprocess
from recommender.sources.base import CORRUPT, Confidence, Rule, Source
from recommender.sources.parsing import epoch_seconds
from recommender.storage import FileInfo

BLOCK = "block"  # byte at which the reader's piece of the file begins; 0 unless Spark split it
POSITION = "position"  # ascends by one from line to line within a piece
BLANK = "blank"  # the one reason that is not a fault

_TEXT = "text"
_RECORD = "record"
_SPACE = " \t\r\n\f\v\ufeff"  # U+FEFF is a byte-order mark, also where files were joined

_ONLY_SPACE = r"^[\s\u00a0\ufeff]*$"

_JSON_OPTIONS = {
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": CORRUPT,
    # Python literals ({'asin': ...}) are not JSON; Spark reads them unless told not to.
    "allowSingleQuotes": "false",
}
# Two objects on one line, as a torn write leaves them. Inside valid JSON a quote after "}{" ends
# a string and is never followed by a letter, so this finds no good line.
_GLUED = r'\}\s*\{\s*"\w'


def read_lines(spark: SparkSession, files: Sequence[FileInfo]) -> DataFrame:
    """Read files as text, one row a line, each with its place.

    Returns:
        raw, file (URL-encoded name, as Spark gives it), block, position.
    """
    frame = spark.read.text([_literal(f.uri) for f in files])
    return frame.select(
        F.col("value").alias(c.RAW),
        F.col("_metadata.file_name").alias(c.FILE),
        F.col("_metadata.file_block_start").alias(BLOCK),
        # Counts the rows of a partition, and a partition reads its pieces one after the other.
        F.monotonically_increasing_id().alias(POSITION),
    )


def parse_lines(
    lines: DataFrame, source: Source, settings: Preprocess, latest: int | None = None
) -> DataFrame:
    """Parse each line by a format's description and give each bad one its reason.

    Args:
        lines: from ``read_lines``.
        source: the format.
        settings: for the confidence.
        latest: epoch second from which a time lies in the future; None allows any.

    Returns:
        file, block, position, reason (null: good; ``blank``), raw (null: good) and the columns of
        ``schemas.PARSED``, null unless the line is good.
    """
    place = (c.FILE, BLOCK, POSITION, c.RAW)
    # Trimming a set of characters walks the whole line; most lines need none of it.
    tight = F.col(c.RAW).startswith("{") & F.col(c.RAW).endswith("}")
    text = F.when(tight, F.col(c.RAW)).otherwise(F.btrim(F.col(c.RAW), F.lit(_SPACE)))
    record = F.from_json(F.col(_TEXT), source.schema, _JSON_OPTIONS)
    # One select a step: Spark then computes each result once, however often it is used.
    frame = lines.select(*place, text.alias(_TEXT))
    frame = frame.select(*place, _TEXT, record.alias(_RECORD))
    confidence = source.confidence(_field, settings)
    fields = (
        _field(source.user).alias(c.USER_ID),
        _field(source.item).alias(c.ITEM_ID),
        epoch_seconds(_field(source.time)).alias(c.TIMESTAMP),
        confidence.value.alias(c.CONFIDENCE),
    )
    frame = frame.select(*place, _TEXT, _RECORD, *fields)
    reason = _first_broken(_rules(source, confidence, latest)).alias(c.REASON)
    frame = frame.select(*place, reason, *(F.col(name) for name in _PARSED))
    good = F.col(c.REASON).isNull()
    return frame.select(
        c.FILE,
        BLOCK,
        POSITION,
        c.REASON,
        F.when(~good, F.col(c.RAW)).alias(c.RAW),
        *(F.when(good, F.col(name)).alias(name) for name in _PARSED),
    )


_PARSED = (c.USER_ID, c.ITEM_ID, c.TIMESTAMP, c.CONFIDENCE)


def _rules(source: Source, confidence: Confidence, latest: int | None) -> list[Rule]:
    """List what makes a line bad, in the order in which reasons are given."""
    text, time = F.col(_TEXT), F.col(c.TIMESTAMP)
    rules = [
        Rule(BLANK, text == ""),
        Rule("not_an_object", ~text.startswith("{")),
        Rule("not_json", _field(CORRUPT).isNotNull() | ~text.endswith("}")),
        Rule("two_objects", (text.contains("}{") | text.contains("} {")) & text.rlike(_GLUED)),
    ]
    for key, what in ((source.user, c.USER_ID), (source.item, c.ITEM_ID)):
        rules += [
            Rule(f"{what}_missing", _field(key).isNull()),
            Rule(f"{what}_blank", _field(key).rlike(_ONLY_SPACE)),
        ]
    rules += [
        Rule("timestamp_missing", _field(source.time).isNull()),
        Rule("timestamp_unreadable", time.isNull()),
        Rule("timestamp_not_positive", time <= 0),
    ]
    if latest is not None:
        rules.append(Rule("timestamp_in_future", time >= latest))
    return [*rules, *confidence.rules]


def _first_broken(rules: Sequence[Rule]) -> Column:
    return F.coalesce(*(F.when(rule.broken, F.lit(rule.reason)) for rule in rules))


def _field(key: str) -> Column:
    return F.col(_RECORD).getField(key)


def _literal(uri: str) -> str:
    """Escape what Hadoop would take for a wildcard."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)

"""Turn the text of a field into a value, null where it cannot be; no cast here can fail.

Each cast stands behind a pattern that its input matches, so the results are the same with ANSI
mode on.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

_NUMBER = r"^-?\d{1,20}(\.\d+)?([eE][+-]?\d{1,3})?$"

# 10^11 s is the year 5138 and 10^11 ms is 3 March 1973, so a number from there on is in
# milliseconds: the two ranges of plausible dates do not meet.
MILLISECONDS_FROM = 1e11
# The first second of the year 10000: nothing beyond it is a date.
_END_OF_TIME = 253_402_300_800


def epoch_seconds(text: Column) -> Column:
    """Read a time as whole seconds since the epoch, UTC (int64); null where it is none.

    Read are epoch seconds and milliseconds (as number or as text) and ISO 8601 with a zone,
    or without one, which means UTC. Fractions of a second are cut off.
    """
    number = F.when(text.rlike(_NUMBER), text.cast("double"))
    size = F.abs(number)
    seconds = F.when(size < MILLISECONDS_FROM, number)
    seconds = seconds.when(size < _END_OF_TIME * 1000, number / 1000)
    # Two dashes tell a date from a number, and from a bare time ("12:30"), which Spark would take
    # for today's; five times as fast as a pattern.
    dated = (F.substring(text, 5, 1) == "-") & (F.substring(text, 8, 1) == "-")
    return F.when(dated, F.try_to_timestamp(text).cast("bigint")).otherwise(F.floor(seconds))


def float32(text: Column) -> Column:
    """Read a number as float32; null where it is none (NaN and Infinity are none)."""
    return F.when(text.rlike(_NUMBER), text.cast("double").cast("float"))


def is_true(text: Column) -> Column:
    """Tell whether a field says true; absent and null do not."""
    return F.coalesce(F.lower(text) == "true", F.lit(False))

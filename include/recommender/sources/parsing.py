r"""Turn the text of a field into a value, null where it cannot be; no cast here can fail.

Each cast stands behind a pattern that its input matches, so the results are the same with Spark's
ANSI mode on, and on every engine. Patterns keep to what Java and RE2 read alike: digits are spelt
out, and the end is ``\z``, because Java's ``$`` also stands before a last newline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recommender.engines import F

if TYPE_CHECKING:
    from pyspark.sql import Column

_NUMBER = r"^-?[0-9]{1,20}(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?\z"

# 10^11 s is the year 5138 and 10^11 ms is 3 March 1973, so a number from there on is in
# milliseconds: the two ranges of plausible dates do not meet.
MILLISECONDS_FROM = 1e11
# The first second of the year 10000: nothing beyond it is a date.
_END_OF_TIME = 253_402_300_800
_FLOAT32_END = 2.0**128 - 2.0**103  # halfway from the largest float32 to 2 ** 128: rounds up

_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?"
_ZONE = r"( ?([Zz]|UTC|[+-](0[0-9]|1[0-8])(:?[0-5][0-9])?))?"
_ISO_8601 = rf"^{_DATE}([T ]{_CLOCK}{_ZONE})?\z"
_SHIFT = r"([+-][0-9]{2}(:?[0-9]{2})?)\z"
YEAR, MONTH, DAY, ZONE = "year", "month", "day", "zone"
_EPOCH_DAY = 719_468  # days from 1 March of the year 0 to 1970-01-01


def number(text: Column) -> Column:
    """Read a number as float64, infinite where that ends; null where it is none (as NaN)."""
    return F.when(text.rlike(_NUMBER), text.cast("double"))


def dated(text: Column) -> Column:
    """Give a time that is written as in ISO 8601 (a day, or a day and a clock); null for others."""
    # A dash tells a date from nearly every number; ten times as fast as a pattern.
    return F.when(text.contains("-"), F.when(text.rlike(_ISO_8601), text))


def date_parts(iso: Column) -> dict[str, Column]:
    """Take apart what ``dated`` gives: columns of a step of their own, as each is used often.

    Written in place they would be repeated some eighty times, and Java compiles no method of that
    size: Spark took twice as long.
    """
    return {
        YEAR: F.substring(iso, 1, 4).cast("bigint"),
        MONTH: F.substring(iso, 6, 2).cast("bigint"),
        DAY: F.substring(iso, 9, 2).cast("bigint"),
        # A date's own dash is no sign of a zone: only what follows a clock is read here.
        ZONE: F.when(F.length(iso) > 10, F.regexp_extract(iso, _SHIFT, 1)),
    }


def epoch_seconds(number: Column, iso: Column) -> Column:
    """Read a time as whole seconds since the epoch, UTC (int64); null where it is none.

    Read are epoch seconds and milliseconds (as number or as text) and ISO 8601 with a zone,
    or without one, which means UTC. Fractions of a second are cut off.

    Args:
        number: the column of ``number(text)``.
        iso: the column of ``dated(text)``, beside the columns of ``date_parts(iso)``.
    """
    size = F.abs(number)
    seconds = F.when(size < MILLISECONDS_FROM, number)
    seconds = seconds.when(size < _END_OF_TIME * 1000, number / 1000)
    return F.when(iso.isNotNull(), _iso_seconds(iso)).otherwise(F.floor(seconds).cast("bigint"))


def _iso_seconds(iso: Column) -> Column:
    """Add up the parts; null where a month has no such day."""
    year, month, day = F.col(YEAR), F.col(MONTH), F.col(DAY)
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    february = F.when(leap, F.lit(29)).otherwise(F.lit(28))
    length = F.when(month == 2, february).when(month.isin(4, 6, 9, 11), F.lit(30))
    days = _days(year, month, day) * 86_400
    return F.when(day <= length.otherwise(F.lit(31)), days + _clock(iso) - _offset(F.col(ZONE)))


def _clock(iso: Column) -> Column:
    """Read the seconds of the day: once the pattern holds, each digit has its place."""

    def digits(start: int) -> Column:
        return F.substring(iso, start, 2).cast("bigint")

    minutes = digits(12) * 3600 + digits(15) * 60
    exact = F.when(F.substring(iso, 17, 1) == ":", minutes + digits(18)).otherwise(minutes)
    return F.when(F.length(iso) > 10, exact).otherwise(F.lit(0))


def _offset(zone: Column) -> Column:
    """Read how many seconds a zone is ahead of UTC: +hh, +hhmm or +hh:mm; others are UTC."""
    hours = F.substring(zone, 2, 2).cast("bigint") * 3600
    minutes = F.substring(F.replace(zone, F.lit(":"), F.lit("")), 4, 2).cast("bigint") * 60
    ahead = F.when(F.length(zone) > 3, hours + minutes).otherwise(hours)
    signed = F.when(zone.startswith("-"), -ahead).otherwise(ahead)
    return F.when(F.length(zone) >= 3, signed).otherwise(F.lit(0))


def _days(year: Column, month: Column, day: Column) -> Column:
    """Count the days since the epoch (Howard Hinnant, ``days_from_civil``; years from 0 on)."""
    year = F.when(month <= 2, year - 1).otherwise(year)
    month = F.when(month > 2, month - 3).otherwise(month + 9)
    in_year = F.floor((month * 153 + 2) / 5) + day - 1
    leaps = F.floor(year / 4) - F.floor(year / 100) + F.floor(year / 400)
    return (year * 365 + leaps + in_year - _EPOCH_DAY).cast("bigint")


def float32(number: Column) -> Column:
    """Round a float64 to float32, infinite where that ends."""
    # The cast itself gives infinity on Spark and fails on DuckDB.
    value = F.when(number >= _FLOAT32_END, F.lit(float("inf")))
    value = value.when(number <= -_FLOAT32_END, F.lit(float("-inf")))
    return value.otherwise(number).cast("float")


def is_true(text: Column) -> Column:
    """Tell whether a field says true; absent and null do not."""
    return F.coalesce(F.lower(text) == "true", F.lit(False))

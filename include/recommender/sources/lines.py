"""Sort raw lines into good, bad (with a reason) and blank.

Two readings, one set of rules. DuckDB's fast parser reads every line, and a line that it
is sure of and that breaks no rule is good. What is left, a per mille of real data, is read again by
``careful.read``, which settles what the line is and why it is bad; the rules on values then apply
to what it found. Spark runs both readings as they are, in DuckDB, beside its executors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from recommender import columns as c
from recommender import engines
from recommender.config import Preprocess
from recommender.engines import F
from recommender.engines.executor_reading import UNSETTLED
from recommender.schemas import PARSED, Schema, conform
from recommender.sources import careful
from recommender.sources.base import Rule, Source
from recommender.sources.parsing import MILLISECONDS_FROM, date_parts, dated, epoch_seconds, number

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

BLOCK = "block"  # byte at which the reader's piece of the file begins; 0 unless Spark split it
POSITION = "position"  # ascends by one from line to line within a piece
BLANK = "blank"  # the one reason that is not a fault
MILLISECONDS = "milliseconds"  # whether the time was given in them
TEXT = "text"
SURE = "sure"

_PLACE = (c.FILE, BLOCK, POSITION)
_PARSED = (c.USER_ID, c.ITEM_ID, c.TIMESTAMP, c.CONFIDENCE)
# A line as a reading leaves it.
LINES: Schema = {
    c.FILE: "string",
    BLOCK: "bigint",
    POSITION: "bigint",
    c.REASON: "string",
    c.RAW: "string",
    **PARSED,
    MILLISECONDS: "boolean",
}
Parse = Callable[["DataFrame", Sequence[str], Sequence[str]], "DataFrame"]
_TIME, _NUMBER, _ISO = "time", "number", "iso"
_ONLY_BLANKS = f"^[{careful.SPACE}\u00a0]*\\z"
# Numbers that are no integer, NaN, objects and lists: each engine writes those in its own way.
_ODD_ID = "^([{\\[-]|[0-9]+[.eE]|(?i:nan|inf))|\ufffd"


@dataclass(frozen=True)
class Parsed:
    """Hold the parsed lines of a snapshot, kept by the engine.

    Attributes:
        first: every line as the fast reading found it: file, block, position, reason (null: good;
            ``blank``; ``unsettled``), raw (null if good or blank), the columns of
            ``schemas.PARSED`` and milliseconds, null unless good. On Spark none is unsettled.
        again: the unsettled lines as the careful reading found them, in the same columns, raw
            always there; None when nothing was unsettled.
    """

    first: DataFrame
    again: DataFrame | None

    @cached_property
    def counts(self) -> Sequence[Row]:
        """Return for each (file, block, reason) of ``first``: n, first position, first and last time, n in milliseconds."""
        return _count(self.first)

    @cached_property
    def counts_again(self) -> Sequence[Row]:
        """Return the same of ``again``."""
        return () if self.again is None else _count(self.again)

    @property
    def good(self) -> DataFrame:
        """Return the good lines in the columns of ``schemas.PARSED``."""
        good = conform(self.first.filter(F.col(c.REASON).isNull()), PARSED)
        if self.again is None:
            return good
        return good.unionByName(conform(self.again.filter(F.col(c.REASON).isNull()), PARSED))

    @property
    def bad(self) -> DataFrame | None:
        """Return the bad lines: file, block, position, reason, raw; None where there is none."""
        good = (None, BLANK, UNSETTLED)
        if all(row[c.REASON] in good for row in (*self.counts, *self.counts_again)):
            return None
        bad, *others = (_bad(frame) for frame in (self.first, self.again) if frame is not None)
        return bad.unionByName(others[0]) if others else bad

    def release(self) -> None:
        """Free what the engine keeps."""
        for frame in (self.first, self.again):
            if frame is not None:
                engines.current().release(frame)


@dataclass(frozen=True)
class Reading:
    """Know the rules of a format.

    Attributes:
        source: the format.
        settings: for the confidence.
        latest: epoch second from which a time lies in the future; None allows any.
    """

    source: Source
    settings: Preprocess
    latest: int | None

    @property
    def ids(self) -> tuple[str, str]:
        """Return the keys that hold ids."""
        return self.source.user, self.source.item

    def fast(self, lines: DataFrame, parse: Parse) -> DataFrame:
        """Take the lines that are plainly good or blank; the others are unsettled and keep their text.

        Args:
            lines: raw, file, block, position.
            parse: from the column ``text`` to the text of keys; see ``DuckDbEngine.parse``.
        """
        return _read_fast(lines, parse, self)

    def settled(self, found: DataFrame) -> DataFrame:
        """Give what ``careful.read`` found its reason and values.

        Args:
            found: file, block, position, raw, reason and the keys' text.
        """
        values = _values(found, self.source, self.settings, (*_PLACE, c.RAW, c.REASON))
        broken = _first_broken(_rules(self.source, self.settings, self.latest))
        reason = F.coalesce(F.col(c.REASON), broken).alias(c.REASON)
        return conform(values.select(*_PLACE, reason, c.RAW, *_PARSED, MILLISECONDS), LINES)


def parse_lines(
    lines: DataFrame, source: Source, settings: Preprocess, latest: int | None = None
) -> Parsed:
    """Parse each line by a format's description and give each bad one its reason.

    This is the one pass over the raw data; what is kept of a good line is narrow.

    Args:
        lines: from an engine's ``read``.
        source: the format.
        settings: for the confidence.
        latest: epoch second from which a time lies in the future; None allows any.
    """
    first, again = engines.current().sort_lines(lines, Reading(source, settings, latest))
    return Parsed(first, again)


def _bad(lines: DataFrame) -> DataFrame:
    reason = F.coalesce(F.col(c.REASON), F.lit(BLANK))
    bad = lines.filter((reason != BLANK) & (reason != UNSETTLED))
    return bad.select(*_PLACE, c.REASON, c.RAW)


def _count(lines: DataFrame) -> list[Row]:
    """Count lines by place and reason; what reaches the driver is a row for each."""
    return (
        lines.groupBy(c.FILE, BLOCK, c.REASON)
        .agg(
            F.count(F.lit(1)).alias("n"),
            F.min(POSITION).alias(POSITION),
            F.min(c.TIMESTAMP).alias("first"),
            F.max(c.TIMESTAMP).alias("last"),
            F.sum(F.when(F.col(MILLISECONDS), F.lit(1)).otherwise(F.lit(0))).alias(MILLISECONDS),
        )
        .collect()
    )


def _read_fast(lines: DataFrame, parse: Parse, reading: Reading) -> DataFrame:
    """See ``Reading.fast``. One select a step: each result is computed once, however often it is used."""
    source, settings, latest = reading.source, reading.settings, reading.latest
    place = (*_PLACE, c.RAW)
    # Trimming a set of characters walks the whole line; most lines need none of it.
    closed = F.col(c.RAW).endswith("}") | F.col(c.RAW).endswith("}\n")
    tight = F.col(c.RAW).startswith("{") & closed
    text = F.when(tight, F.col(c.RAW)).otherwise(F.btrim(F.col(c.RAW), F.lit(careful.SPACE)))
    frame = lines.select(*place, text.alias(TEXT))
    empty, deep = F.col(TEXT) == "", _may_be_deep(F.col(TEXT))
    frame = frame.select(*place, empty.alias("empty"), deep.alias("deep"), TEXT)
    frame = parse(frame, source.keys, source.extra)
    frame = _values(frame, source, settings, (*place, "empty", "deep", SURE))
    doubt = F.col("deep") | ~F.col(SURE) | _may_be_odd(F.col(c.USER_ID))
    doubt = doubt | _may_be_odd(F.col(c.ITEM_ID))
    for rule in _rules(source, settings, latest):
        doubt = doubt | F.coalesce(rule.broken, F.lit(False))
    good = F.coalesce(~doubt, F.lit(False))
    reason = F.when(F.col("empty"), F.lit(BLANK)).when(~good, F.lit(UNSETTLED))
    frame = frame.select(*place, reason.alias(c.REASON), *_PARSED, MILLISECONDS)
    raw = F.when(is_(UNSETTLED), F.col(c.RAW)).alias(c.RAW)
    return conform(frame.select(*_PLACE, c.REASON, raw, *_PARSED, MILLISECONDS), LINES)


def _may_be_odd(id_: Column) -> Column:
    """Tell ids to be read with care; one that begins with A to H is no number, NaN or list."""
    plain = (id_ >= "A") & (id_ < "I")
    return F.when(plain, id_.contains("\ufffd")).otherwise(id_.rlike(_ODD_ID))


def _may_be_deep(text: Column) -> Column:
    """Tell lines whose brackets may lie too deep; only a line long enough is looked at."""
    others = F.replace(F.replace(text, F.lit("{"), F.lit("")), F.lit("["), F.lit(""))
    brackets = F.length(text) - F.length(others)
    long = F.bit_length(text) > 16 * careful.MAX_DEPTH  # counting characters reads every line
    return F.when(long, brackets > careful.MAX_DEPTH).otherwise(F.lit(False))


def _values(
    frame: DataFrame, source: Source, settings: Preprocess, others: Sequence[str]
) -> DataFrame:
    """Turn the text of the keys into the columns of ``PARSED`` and milliseconds, beside others."""
    time = _field(source.time)
    values = (c.USER_ID, c.ITEM_ID, c.CONFIDENCE, _TIME)
    frame = frame.select(
        *others,
        _field(source.user).alias(c.USER_ID),
        _field(source.item).alias(c.ITEM_ID),
        source.confidence(_field, settings).value.alias(c.CONFIDENCE),
        time.alias(_TIME),
        number(time).alias(_NUMBER),
        dated(time).alias(_ISO),
    )
    parts = date_parts(F.col(_ISO))
    named = [part.alias(name) for name, part in parts.items()]
    frame = frame.select(*others, *values, _NUMBER, _ISO, *named)
    seconds = epoch_seconds(F.col(_NUMBER), F.col(_ISO))
    late = F.col(_NUMBER) >= MILLISECONDS_FROM
    return frame.select(*others, *values, seconds.alias(c.TIMESTAMP), late.alias(MILLISECONDS))


def _rules(source: Source, settings: Preprocess, latest: int | None) -> list[Rule]:
    """List what makes a line bad, in the order in which reasons are given."""
    time = F.col(c.TIMESTAMP)
    rules = []
    for what in (c.USER_ID, c.ITEM_ID):
        rules += [
            Rule(f"{what}_missing", F.col(what).isNull()),
            Rule(f"{what}_blank", F.col(what).rlike(_ONLY_BLANKS)),
        ]
    rules += [
        Rule("timestamp_missing", F.col(_TIME).isNull()),
        Rule("timestamp_unreadable", time.isNull()),
        Rule("timestamp_not_positive", time <= 0),
    ]
    if latest is not None:
        rules.append(Rule("timestamp_in_future", time >= latest))
    return [*rules, *source.confidence(_field, settings).rules]


def _first_broken(rules: Sequence[Rule]) -> Column:
    return F.coalesce(*(F.when(rule.broken, F.lit(rule.reason)) for rule in rules))


def is_(reason: str) -> Column:
    """Tell the lines of a reason."""
    return F.coalesce(F.col(c.REASON) == reason, F.lit(False))


def key_column(key: str) -> str:
    """Name the column of a raw key: apart from ours, which may be spelt the same."""
    return f"raw_{key}"


def _field(key: str) -> Column:
    return F.col(key_column(key))

"""Count what was read, keep the bad lines with their place and reason, and hold the budget."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from recommender import columns as c
from recommender import engines, storage
from recommender.engines import F
from recommender.engines.executor_reading import UNSETTLED
from recommender.errors import BadDataError, SnapshotError, TornFileError
from recommender.locations import SUMMARY, join
from recommender.schemas import QUARANTINE, conform
from recommender.sources.gunzip import GzipFaultError
from recommender.sources.lines import BLANK, BLOCK, MILLISECONDS, POSITION, Parsed
from recommender.sources.peek import gzip_fault, is_gzip_name
from recommender.sources.snapshot import Snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

logger = logging.getLogger(__name__)

_EXAMPLES = 3
_EXAMPLE_LENGTH = 120  # a bad line may be hundreds of kilobytes long
_FIRST = "first_line"


@dataclass
class Tally:
    """Count lines by what became of them.

    Attributes:
        good: parsed lines.
        blank: lines without a character, which are no fault.
        bad: number of bad lines by reason.
        by_file: bad lines by (file, reason).
        first: earliest timestamp of a good line, epoch seconds; None without one.
        last: latest timestamp of a good line.
        milliseconds: good lines whose time was given in milliseconds.
        first_lines: (encoded file, block) -> number of the line at which the piece begins, less
            the position of its first row: line = this + position.
    """

    good: int = 0
    blank: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    by_file: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None
    milliseconds: int = 0
    first_lines: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def raw(self) -> int:
        """Return the number of lines read."""
        return self.good + self.blank + self.bad.total()

    @property
    def bad_share(self) -> float:
        """Return bad lines over lines that are not blank."""
        return self.bad.total() / max(1, self.raw - self.blank)


def count_lines(parsed: Parsed) -> Tally:
    """Add up what became of the lines."""
    tally = Tally(first_lines=_first_lines(parsed.counts))
    settled = [row for row in parsed.counts if row[c.REASON] != UNSETTLED]
    for row in (*settled, *parsed.counts_again):
        reason, n = row[c.REASON], row["n"]
        if reason is None:
            tally.good += n
            tally.milliseconds += int(row[MILLISECONDS])
            tally.first = min(row["first"], row["first"] if tally.first is None else tally.first)
            tally.last = max(row["last"], row["last"] if tally.last is None else tally.last)
        elif reason == BLANK:
            tally.blank += n
        else:
            tally.bad[reason] += n
            tally.by_file[unquote(row[c.FILE]), reason] += n
    return tally


def _first_lines(rows: Sequence[Row]) -> dict[tuple[str, int], int]:
    """Turn positions within pieces into line numbers: a piece begins where the one before ends."""
    lengths: Counter[tuple[str, int]] = Counter()
    starts: dict[tuple[str, int], int] = {}
    for row in rows:
        piece = (row[c.FILE], row[BLOCK])
        lengths[piece] += row["n"]
        starts[piece] = min(row[POSITION], starts.get(piece, row[POSITION]))
    lines_before: dict[str, int] = defaultdict(int)
    first = {}
    for file, block in sorted(lengths):
        first[file, block] = lines_before[file] + 1 - starts[file, block]
        lines_before[file] += lengths[file, block]
    return first


def write_quarantine(parsed: Parsed, tally: Tally, uri: str) -> list[Row]:
    """Write the bad lines as gzip JSON lines, with a summary, and return the first examples.

    Returns:
        up to three rows of ``schemas.QUARANTINE`` with the most frequent reason.
    """
    counts = {"lines": tally.raw, "blank": tally.blank, "bad": dict(tally.bad)}
    storage.write_json(join(uri, SUMMARY), counts)
    if parsed.bad is None or not tally.bad:
        return []
    bad = _placed(parsed.bad, tally)
    engines.current().write_lines(bad, tally.bad.total(), uri)  # beside the summary
    top = tally.bad.most_common(1)[0][0]
    return bad.filter(F.col(c.REASON) == top).orderBy(c.FILE, c.LINE).limit(_EXAMPLES).collect()


def _placed(bad: DataFrame, tally: Tally) -> DataFrame:
    """Replace each line's place among the reader's pieces by its number in the file."""
    faulty = {file for file, _ in tally.by_file}
    places = [
        (file, block, unquote(file), first)
        for (file, block), first in tally.first_lines.items()
        if unquote(file) in faulty
    ]
    schema = {c.FILE: "string", BLOCK: "bigint", "name": "string", _FIRST: "bigint"}
    known = engines.current().frame(places, schema)
    placed = bad.join(known, [c.FILE, BLOCK]).select(
        F.col("name").alias(c.FILE),
        (F.col(_FIRST) + F.col(POSITION)).alias(c.LINE),
        c.REASON,
        c.RAW,
    )
    return conform(placed, QUARANTINE)


def check_budget(
    tally: Tally, budget: float, examples: Sequence[Row], snapshot: str, kept: str
) -> None:
    """Stop when there is nothing to read or too much of it is bad.

    Raises:
        SnapshotError: there is not one line.
        BadDataError: the share of bad lines is above the budget.
    """
    if tally.raw == tally.blank:
        message = (
            f"{snapshot}: expected interactions, found not one line ({tally.blank} blank ones)"
        )
        raise SnapshotError(message)
    for reason, n in tally.bad.most_common():
        logger.warning("%d bad lines: %s", n, reason)
    if tally.bad_share <= budget:
        return
    reason, n = tally.bad.most_common(1)[0]
    file, n_file = max(
        ((f, k) for (f, r), k in tally.by_file.items() if r == reason), key=lambda x: (x[1], x[0])
    )
    shown = "; ".join(f"{x[c.FILE]} line {x[c.LINE]}: {_shorten(x[c.RAW])}" for x in examples)
    message = (
        f"{snapshot}: {tally.bad.total()} of {tally.raw - tally.blank} lines are bad "
        f"({tally.bad_share:.2%}), expected at most {budget:.2%} (preprocess.bad_line_budget). "
        f"Most frequent: {reason} ({n}), above all in {file} ({n_file}). First examples: {shown}. "
        f"All of them are in {kept}. Repair the export, or raise the budget if they may be lost."
    )
    raise BadDataError(message)


def _shorten(line: str) -> str:
    return repr(line if len(line) <= _EXAMPLE_LENGTH else f"{line[:_EXAMPLE_LENGTH]}...")


@contextmanager
def torn_files_named(snapshot: Snapshot) -> Iterator[None]:
    """Turn an engine's failure over a torn gzip into an error that names the file.

    Testing every gzip beforehand would read the data twice; it is done only when reading failed.

    Raises:
        BadDataError: a file ends in mid-stream or is damaged.
    """
    try:
        with engines.current().read_errors():
            yield
    except TornFileError as error:
        faults = {f.uri: gzip_fault(f) for f in snapshot.files if is_gzip_name(f.uri)}
        named = [f"{uri}: {fault}" for uri, fault in faults.items() if fault]
        if named:
            raise BadDataError("; ".join(named)) from error
        if isinstance(error.__cause__, GzipFaultError):
            raise  # our own reader has seen it
        raise (
            error.__cause__ or error
        ) from None  # Spark only suspected it by the words of a failure

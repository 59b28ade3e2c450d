"""Turn a snapshot of raw JSON lines into a clean, split, encoded dataset."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recommender import columns as c
from recommender import manifest, schemas, storage
from recommender.config import Preprocess, Recommender
from recommender.engines import F, current
from recommender.engines.choice import Choice, choose, go_on, start
from recommender.errors import EmptyDatasetError
from recommender.jobs import cli
from recommender.jobs.outputs import clear, require_apart
from recommender.locations import ITEMS as METADATA
from recommender.locations import ITEMS_METADATA, MANIFEST, PROFILE, SUMMARY, join
from recommender.metadata.job import write_items
from recommender.preprocessing import profiling
from recommender.preprocessing.cleaning import Supported, deduplicate, minimum_support
from recommender.preprocessing.encoding import (
    Ids,
    Keyed,
    encode,
    known,
    shorten,
    user_and_item_ids,
)
from recommender.preprocessing.splitting import DAY, Cuts, assign_windows, fit_pairs
from recommender.schemas import ITEMS, TEST, USERS, VALIDATION, WINDOW, WINDOWS, conform
from recommender.sources.lines import Parsed, parse_lines
from recommender.sources.quarantine import (
    Tally,
    check_budget,
    count_lines,
    torn_files_named,
    write_quarantine,
)
from recommender.sources.snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# By its name: run with -m this module is __main__, which has no log handler.
logger = logging.getLogger("recommender.jobs.preprocess")

_OWN = {*WINDOWS, "users", "items", ITEMS_METADATA, PROFILE, MANIFEST}


def parser() -> argparse.ArgumentParser:
    """Return the command line of the job."""
    result = cli.arg_parser(
        "preprocess",
        "Read a snapshot of raw interactions (JSON lines, plain or gzip), put bad lines aside,\n"
        "split by global time, drop what has too little support, number users and items, and\n"
        "write train/, validation/, test/, users/ and items/ as Parquet beside profile.json.",
    )
    add = result.add_argument
    add("--snapshot", required=True, type=cli.location, metavar="URI", help="raw files")
    add("--output", required=True, type=cli.location, metavar="URI", help="dataset; replaced")
    add("--quarantine", required=True, type=cli.location, metavar="URI", help="bad lines; replaced")
    add(
        "--snapshot-date",
        type=dt.date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="times later than the day after it are bad; without it, than a day from now",
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    return cli.run(run, parser(), argv)


def run(arguments: argparse.Namespace, recommender: Recommender) -> None:
    """Check everything that can be checked without an engine, then do the work."""
    require_apart([arguments.output, arguments.quarantine], [arguments.snapshot])
    # Cleared before anything can fail: a failed run leaves no older dataset to be trusted.
    clear(arguments.output, lambda name: name in _OWN)
    clear(arguments.quarantine, _is_quarantined)
    snapshot = open_snapshot(arguments.snapshot, recommender.preprocess.format)
    job = Job(snapshot, arguments.output, arguments.quarantine, recommender.preprocess)
    job.run(_latest_allowed(arguments.snapshot_date))


@dataclass
class Job:
    """Carry one run's inputs from step to step.

    Attributes:
        snapshot: what to read.
        output: where the dataset goes.
        quarantine: where bad lines go.
        settings: the configuration's section ``preprocess``.
        stages: rows at every stage so far.
        engines: what does the ``reading`` and the ``rest``, and why.
    """

    snapshot: Snapshot
    output: str
    quarantine: str
    settings: Preprocess
    stages: profiling.Stages = field(init=False, default_factory=profiling.Stages)
    engines: dict[str, Choice] = field(init=False, default_factory=dict)

    def run(self, latest_allowed: int) -> None:
        """Choose an engine and read, choose again and clean, split, encode and write.

        Args:
            latest_allowed: epoch second from which a timestamp lies in the future.
        """
        choice = choose(self.settings, self.snapshot.plain_bytes, self.snapshot.gzip_bytes)
        logger.info("engine %s: %s", choice.engine, choice.reason)
        with start(choice):
            read = self._read(latest_allowed)
            with go_on(self.settings, choice, read) as (then, parsed):
                self.engines = {"reading": choice, "rest": then}
                self._work(parsed)

    def _read(self, latest_allowed: int) -> Parsed:
        """Parse the raw files in one pass; what is kept is narrow, raw text of bad lines aside."""
        with torn_files_named(self.snapshot):
            lines = current().read(self.snapshot.files)
            return parse_lines(lines, self.snapshot.source, self.settings, latest_allowed)

    def _work(self, parsed: Parsed) -> None:
        """Make a dataset of the lines."""
        tally = self._count(parsed)
        cuts, windowed, calendar, keyed = self._split(parsed, tally)
        fit = fit_pairs(windowed, calendar.windows[VALIDATION])
        supported, users, items = self._support(fit, keyed)
        encoded = current().keep(encode(windowed, users, items))
        windows = profiling.window_facts(encoded)
        cold = profiling.cold_facts(encoded, calendar.windows)
        current().release(windowed)  # writing sorts, and wants the room
        for window in WINDOWS:
            self.stages.add(f"{window} encoded", windows[window]["rows"])
        self._require_encoded(windows, cold)
        ids = profiling.id_facts(users.table, items.table, self.snapshot.source.digits)
        if ids["items_without_zeros"]:
            logger.warning(
                "%d items have ids of digits that are too short, as if a spreadsheet had taken "
                "their leading zeros (%d of them occur with the zeros, too): kept as written",
                ids["items_without_zeros"], ids["items_split_by_zeros"],
            )  # fmt: skip
        self._write(encoded, windows, users, items)
        budget = self.settings.bad_line_budget
        metadata = write_items(self.snapshot.uri, self.output, self.quarantine, budget)
        self._seal(
            {
                **self._inputs(tally),
                **self._rows(tally, calendar),
                "items_metadata": metadata,
                "windows": windows,
                "users": users.count,
                "items": items.count,
                "ids": ids,
                "density": supported.after / (users.count * items.count),
                "support": {"rounds": supported.rounds, "stable": supported.stable},
                **_times(cuts, tally),
                "cold": cold,
                "seconds": self.stages.seconds,
            }
        )

    def _inputs(self, tally: Tally) -> dict[str, Any]:
        """Return the profile's part on what was read and how."""
        return {
            "format": self.snapshot.source.name,
            "engine": {
                part: {"name": choice.engine, "reason": choice.reason}
                for part, choice in self.engines.items()
            },
            "files": {
                "count": len(self.snapshot.files),
                "bytes": self.snapshot.plain_bytes + self.snapshot.gzip_bytes,
                "empty": list(self.snapshot.empty),
            },
            "stages": self.stages.rows,
            "quarantined": dict(sorted(tally.bad.items())),
            "milliseconds": tally.milliseconds,
            "settings": self.settings.model_dump(mode="json"),
        }

    def _rows(self, tally: Tally, calendar: profiling.Calendar) -> dict[str, Any]:
        """Return the profile's part on repeats, verified purchases and days."""
        repeats = tally.good - calendar.rows
        verifies = any(key.startswith("verified") for key in self.snapshot.source.extra)
        tells = verifies and self.settings.verified_confidence != 1  # else all rows look alike
        share = round(calendar.marked / calendar.rows, 6) if tells else None
        return {
            "duplicates": {"rows": repeats, "share": round(repeats / tally.good, 6)},
            "verified": {"share": share},
            "days": calendar.to_json(),
        }

    def _count(self, parsed: Parsed) -> Tally:
        """Count what became of the lines, put the bad ones aside and hold the budget."""
        tally = count_lines(parsed)
        self.stages.add("raw", tally.raw)
        self.stages.add("blank", tally.blank)
        for reason, n in sorted(tally.bad.items()):
            self.stages.add(f"bad: {reason}", n)
        self.stages.add("parsed", tally.good)
        examples = write_quarantine(parsed, tally, self.quarantine)
        budget = self.settings.bad_line_budget
        check_budget(tally, budget, examples, self.snapshot.uri, self.quarantine)
        return tally

    def _split(
        self, parsed: Parsed, tally: Tally
    ) -> tuple[Cuts, DataFrame, profiling.Calendar, Keyed]:
        """Cut time into windows, then take duplicates out within each; ids are keys from here."""
        if tally.first is None or tally.last is None:
            message = f"{self.snapshot.uri}: no line could be read ({self.stages})"
            raise EmptyDatasetError(message)
        cuts = Cuts.back_from(tally.last, self.settings)
        keyed = shorten(parsed.good)
        windowed = current().keep(deduplicate(assign_windows(keyed.rows, cuts)))
        calendar = profiling.calendar(windowed)
        rows = calendar.windows
        parsed.release()
        for window in WINDOWS:
            self.stages.add(f"{window} deduplicated", rows[window])
        empty = [window for window in WINDOWS if not rows[window]]
        if empty:
            days = (tally.last - tally.first) / DAY
            message = (
                f"the {' and the '.join(empty)} window is empty: the snapshot spans {days:.1f} days, "
                f"{profiling.iso(tally.first)} to {profiling.iso(tally.last)}, and preprocess.holdout_days "
                f"{self.settings.holdout_days} and preprocess.validation_days "
                f"{self.settings.validation_days} are cut from its end ({self.stages}). "
                "Shorten them or take a longer snapshot."
            )
            raise EmptyDatasetError(message)
        return cuts, windowed, calendar, keyed

    def _support(self, fit: DataFrame, keyed: Keyed) -> tuple[Supported, Ids, Ids]:
        """Apply the minimum support to the fit rows and number who is left."""
        settings = self.settings
        supported = minimum_support(
            fit, settings.min_user_interactions, settings.min_item_interactions, keyed.n_items
        )
        self.stages.add("fit pairs", supported.before)
        self.stages.add("fit pairs supported", supported.after)
        users, items = user_and_item_ids(supported.pairs, keyed)
        keyed.release()
        current().release(supported.pairs)
        if users.count < 2 or items.count < 2:
            before = fit.select(F.count_distinct(c.USER_ID), F.count_distinct(c.ITEM_ID)).first()
            all_users, all_items = before or (0, 0)
            message = (
                f"expected at least 2 users and 2 items, found {users.count} and {items.count}: before "
                f"the test window there are {all_users} users and {all_items} items, of which "
                f"preprocess.min_user_interactions {settings.min_user_interactions} and "
                f"preprocess.min_item_interactions {settings.min_item_interactions} leave those "
                f"({self.stages}). Lower them or take a larger snapshot."
            )
            raise EmptyDatasetError(message)
        return supported, users, items

    def _require_encoded(self, windows: dict[str, Any], cold: dict[str, Any]) -> None:
        """Refuse a dataset that cannot be trained, tuned or measured on."""
        for window in WINDOWS:
            if windows[window]["rows"]:
                continue
            why = "all its users or items are below the minimum support"
            if window in {VALIDATION, TEST}:
                facts = cold[window]
                why = (
                    f"all its {facts['rows']} rows are cold ({facts['users']} users and "
                    f"{facts['items']} items unknown before the test window or below the minimum "
                    "support)"
                )
            message = (
                f"nothing is left of the {window} window: {why}; stages: {self.stages}. Lower "
                "preprocess.min_user_interactions or min_item_interactions, or move the windows."
            )
            raise EmptyDatasetError(message)

    def _write(self, encoded: DataFrame, windows: dict[str, Any], users: Ids, items: Ids) -> None:
        rows = known(encoded)
        tables = [
            (rows.filter(F.col(WINDOW) == w), schemas.INTERACTIONS, windows[w]["rows"], w)
            for w in WINDOWS
        ]
        tables += [
            (users.table, USERS, users.count, "users"),
            (items.table, ITEMS, items.count, "items"),
        ]
        write = current().write_table
        with ThreadPoolExecutor(len(tables) if current().side_by_side else 1) as pool:
            done = [
                pool.submit(write, conform(frame, schema), n, join(self.output, name))
                for frame, schema, n, name in tables
            ]
            for future in done:
                future.result()

    def _seal(self, profile: dict[str, Any]) -> None:
        storage.write_json(join(self.output, PROFILE), profile)
        about = {
            key: profile[key] for key in ("format", "users", "items", "fit_until", "data_until")
        }
        about["rows"] = {window: profile["windows"][window]["rows"] for window in WINDOWS}
        manifest.seal(self.output, "dataset", {"snapshot": self.snapshot.uri, **about})
        logger.info("dataset sealed at %s after %.1f s", self.output, self.stages.seconds)


def _is_quarantined(name: str) -> bool:
    return name in {SUMMARY, METADATA} or name.startswith("part-")


def _times(cuts: Cuts, tally: Tally) -> dict[str, Any]:
    return {
        "time_range": {
            "first": tally.first,
            "last": tally.last,
            "first_date": profiling.iso(tally.first),
            "last_date": profiling.iso(tally.last),
        },
        "train_until": cuts.train_until,
        "train_until_date": profiling.iso(cuts.train_until),
        "fit_until": cuts.fit_until,
        "fit_until_date": profiling.iso(cuts.fit_until),
        "data_until": cuts.data_until,
        "data_until_date": profiling.iso(cuts.data_until),
    }


def _latest_allowed(date: dt.date | None) -> int:
    """Return the epoch second from which a time is refused.

    The day after the snapshot's is still allowed: zones reach 14 hours ahead of UTC, and an
    export runs on a little after midnight.
    """
    if date is None:
        return int(dt.datetime.now(dt.UTC).timestamp()) + DAY
    return int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) + 2 * DAY


if __name__ == "__main__":
    sys.exit(main())

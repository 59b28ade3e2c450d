"""Turn a snapshot's ``items/`` into ``<dataset>/items_metadata/``: one row per item, Parquet.

Files are streamed, cut into blocks, and parsed by processes side by side, so that one huge gzip
uses all cores as well as many small files do. The rows go to buckets on the local disk by a hash of
their id; each bucket is then small enough to take its duplicates out in memory.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender import storage
from recommender.columns import FILE, ITEM_ID, LINE, RAW, REASON
from recommender.errors import BadDataError
from recommender.locations import ITEMS, ITEMS_METADATA, join
from recommender.metadata import table
from recommender.metadata.lines import Block, read_blocks
from recommender.metadata.worker import Parsed, parse_block
from recommender.sources.peek import disguise
from recommender.storage import FileInfo

logger = logging.getLogger(__name__)

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_BYTES_PER_PROCESS = 4 << 20  # below this a process takes longer to start than to work
_BYTES_PER_BUCKET = 1 << 30  # as stored; the rows that are kept of it take about 300 MB
_AHEAD = 2  # blocks waiting per process: enough to keep it busy, few enough to hold
_HEAD_BYTES = 1 << 10
_EXAMPLES = 3


@dataclass
class _Tally:
    """Count what became of the lines.

    Attributes:
        lines: lines read.
        blank: lines without a character.
        bad: bad lines by reason.
        examples: the first bad lines, for the message.
    """

    lines: int = 0
    blank: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, name: str, parsed: Parsed) -> None:
        """Count one block."""
        self.lines += parsed.lines
        self.blank += parsed.blank
        self.bad += parsed.reasons
        room = _EXAMPLES - len(self.examples)
        self.examples += [
            f"{name} line {n}: {why}, {raw[:80]!r}" for n, why, raw in parsed.bad[:room]
        ]

    @property
    def good(self) -> int:
        """Return the lines that became rows."""
        return self.lines - self.blank - self.bad.total()


def write_items(
    snapshot: str, dataset: str, quarantine: str, budget: float, processes: int | None = None
) -> dict[str, Any] | None:
    """Write a dataset's table of items; the dataset is not sealed yet.

    Args:
        snapshot: directory of the raw files; its folder ``items/`` holds the metadata.
        dataset: where the job writes; its table ``items`` is there already.
        quarantine: where bad lines go, below ``items/``.
        budget: share of bad lines above which the run stops.
        processes: that parse side by side; None takes as many as the size is worth.

    Returns:
        the profile's section, None when the snapshot holds no metadata.

    Raises:
        BadDataError: too many bad lines, a torn gzip, or a file that is not what its name says.
    """
    files = _files(snapshot)
    if not files:
        logger.info("no metadata: %s holds no files", join(snapshot, ITEMS))
        return None
    size = sum(file.size for file in files)
    buckets = 1 + size // _BYTES_PER_BUCKET
    workers = processes or min(os.cpu_count() or 1, 1 + size // _BYTES_PER_PROCESS)
    tally = _Tally()
    with tempfile.TemporaryDirectory(prefix="recsys-items-") as directory:
        work = Path(directory)
        with _Spill(work, buckets) as spill:
            for name, parsed in _parse(files, buckets, workers):
                tally.add(name, parsed)
                spill.add(name, parsed)
        if tally.bad:
            storage.upload(spill.quarantine, join(quarantine, ITEMS, "part-00000.json.gz"))
        _check_budget(tally, budget, snapshot, join(quarantine, ITEMS))
        known = _known(join(dataset, "items"))
        facts = [_write_bucket(spill.path(n), n, dataset, known) for n in range(buckets)]
    return _profile(files, tally, len(known), facts)


def _files(snapshot: str) -> list[FileInfo]:
    folder = join(snapshot, ITEMS)
    files = [f for f in storage.list_files(folder) if not _name(f).startswith(("_", "."))]
    strange = [_name(file) for file in files if not file.uri.endswith(_SUFFIXES)]
    if strange:
        logger.warning("%d files in %s are no JSON by name: %s", len(strange), folder, strange[:5])
    found = [file for file in files if file.size and file.uri.endswith(_SUFFIXES)]
    for file in found:
        if fault := disguise(_name(file), storage.read_head(file, _HEAD_BYTES)):
            message = f"{file.uri}: expected item metadata, found {fault}"
            raise BadDataError(message)
    return found


def _parse(files: Sequence[FileInfo], buckets: int, processes: int) -> Iterator[tuple[str, Parsed]]:
    """Parse all files, yielding what became of each block, in order."""
    if processes == 1:
        yield from ((block.file, parse_block(block, buckets)) for block in _read(files))
        return
    # Not forked: the caller may have a JVM and threads, of which a fork copies half.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        waiting: deque[tuple[str, Future[Parsed]]] = deque()
        for block in _read(files):
            waiting.append((block.file, pool.submit(parse_block, block, buckets)))
            if len(waiting) > processes * _AHEAD:
                name, future = waiting.popleft()
                yield name, future.result()
        yield from ((name, future.result()) for name, future in waiting)


def _read(files: Iterable[FileInfo]) -> Iterator[Block]:
    for file in files:
        with storage.open_read(file) as stream:
            yield from read_blocks(_name(file), stream)


class _Spill:
    """Keep rows by bucket, and bad lines, on the local disk."""

    def __init__(self, directory: Path, buckets: int) -> None:
        self._directory = directory
        self._writers = ExitStack()
        self._buckets = [
            self._writers.enter_context(pa.ipc.new_file(self.path(n), table.SCHEMA))
            for n in range(buckets)
        ]
        self.quarantine = directory / "bad.json.gz"
        self._bad = self._writers.enter_context(pa.CompressedOutputStream(self.quarantine, "gzip"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writers.close()

    def path(self, bucket: int) -> Path:
        """Return the file of a bucket."""
        return self._directory / f"{bucket}.arrow"

    def add(self, name: str, parsed: Parsed) -> None:
        """Write one block's rows and bad lines."""
        for bucket, rows in parsed.tables.items():
            self._buckets[bucket].write_batch(rows)
        for number, reason, raw in parsed.bad:
            text = raw.decode("utf-8", "replace")
            line = {FILE: f"{ITEMS}/{name}", LINE: number, REASON: reason, RAW: text}
            self._bad.write(f"{json.dumps(line)}\n".encode())


def _check_budget(tally: _Tally, budget: float, snapshot: str, kept: str) -> None:
    for reason, n in tally.bad.most_common():
        logger.warning("%d bad lines of metadata: %s", n, reason)
    share = tally.bad.total() / max(1, tally.lines - tally.blank)
    if share <= budget:
        return
    reason, n = tally.bad.most_common(1)[0]
    message = (
        f"{join(snapshot, ITEMS)}: {tally.bad.total()} of {tally.lines - tally.blank} lines of "
        f"metadata are bad ({share:.2%}), expected at most {budget:.2%} "
        f"(preprocess.bad_line_budget). Most frequent: {reason} ({n}). First examples: "
        f"{'; '.join(tally.examples)}. All of them are in {kept}. Repair the export, or raise the "
        "budget if they may be lost."
    )
    raise BadDataError(message)


def _known(uri: str) -> pa.ChunkedArray:
    """Return the ids of the dataset's items."""
    with storage.local_copy(uri) as directory:
        files = sorted(directory.rglob("*.parquet"))
        tables = [pq.ParquetFile(file).read([ITEM_ID]) for file in files]
    return pa.concat_tables(tables)[ITEM_ID].cast(pa.string())


def _write_bucket(spilled: Path, number: int, dataset: str, known: pa.ChunkedArray) -> Counter[str]:
    """Take duplicates out of one bucket, write it, and return the counts of what it holds."""
    with pa.memory_map(str(spilled)) as source:
        items = table.merge(pa.ipc.open_file(source).read_all())
    if not len(items) and number:
        return Counter()
    path = spilled.with_suffix(".parquet")
    table.write(items, path)
    storage.upload(path, join(dataset, ITEMS_METADATA, f"part-{number:05d}.parquet"))
    path.unlink()
    counts: Counter[str] = Counter(items=len(items))
    counts["known"] = pc.sum(pc.is_in(items[ITEM_ID], known.combine_chunks())).as_py() or 0
    for name in table.FIELDS:
        counts[name] = len(items) - items[name].null_count
    return counts


def _profile(
    files: Sequence[FileInfo], tally: _Tally, dataset_items: int, facts: Iterable[Counter[str]]
) -> dict[str, Any]:
    counts: Counter[str] = sum(facts, Counter())
    profile = {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "lines": tally.lines,
        "blank": tally.blank,
        "quarantined": dict(sorted(tally.bad.items())),
        "duplicates": tally.good - counts["items"],
        "items": counts["items"],
        "with": {name: counts[name] for name in table.FIELDS},
        "known": counts["known"],
        "known_share": round(counts["known"] / dataset_items, 6) if dataset_items else 0.0,
    }
    logger.info(
        "metadata: %d lines, %d bad, %d duplicates, %d items; of the dataset's %d items %d are "
        "described", tally.lines, tally.bad.total(), profile["duplicates"], counts["items"],
        dataset_items, counts["known"],
    )  # fmt: skip
    return profile


def _name(file: FileInfo) -> str:
    return file.uri.rsplit("/", 1)[-1]

"""Measure raw item metadata to the table of items beside a loop over lines, in one run.

    PYTHONPATH=include python benchmarks/metadata.py --items 100000

The lines are those of 2014: Python literals in one gzip, a tenth of the items described twice. The loop does what
people write by hand: ``ast.literal_eval`` of every line, the first path of categories, ``drop_duplicates``,
Parquet. It evaluates what it reads without a check of size or nesting, and keeps no bad line.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recommender.metadata.job import write_items


def write_lines(path: Path, items: int, seed: int = 42) -> int:
    """Write the metadata of 1.1 times as many lines as items; return the bytes of text."""
    rng = random.Random(seed)  # noqa: S311 - data, no secret
    path.parent.mkdir(parents=True)
    size = 0
    with gzip.open(path, "wb", 5) as out:
        for number in (*range(items), *range(0, items, 10)):
            record = {
                "asin": f"{number:010d}",
                "title": f'Girls\' item {number} "{rng.randrange(999)}"',
                "categories": [
                    ["Sports & Outdoors", f"part {number % 97}", f"leaf {number % 991}"]
                ],
                "price": rng.randrange(100, 99_999) / 100,
                "salesRank": {"Toys & Games": rng.randrange(10**6)},
                "imUrl": f"http://example.com/{number}.jpg",
                "related": {"also_bought": [f"B{rng.randrange(10**9):09d}" for _ in range(20)]},
                "brand": f"brand {number % 313}",
            }
            size += out.write(repr(record).encode() + b"\n")
    return size


def by_hand(snapshot: Path, dataset: Path) -> None:
    """Loop over the lines."""
    rows = []
    for path in (snapshot / "items").iterdir():
        with gzip.open(path, "rt") as lines:
            for line in lines:
                record = ast.literal_eval(line)
                category = " > ".join(record["categories"][0])
                kept = (record["asin"], record["title"], category, record["brand"], record["price"])
                rows.append(kept)
    frame = pd.DataFrame(rows, columns=["item_id", "title", "category", "brand", "price"])
    frame.drop_duplicates("item_id").to_parquet(dataset / "by_hand.parquet")


def ours(snapshot: Path, dataset: Path) -> None:
    """Run the product's own step."""
    write_items(str(snapshot), str(dataset), str(dataset / "quarantine"), budget=0.01)


def measure(run: Callable[[Path, Path], None], snapshot: Path, dataset: Path) -> tuple[float, int]:
    """Return the seconds, and the peak of this process in bytes (with what ran in it before)."""
    began = time.monotonic()
    run(snapshot, dataset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return time.monotonic() - began, peak


def main() -> None:
    """Generate, run both (ours first: a peak only grows), print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=100_000)
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory(prefix="bench-items-") as directory:
        snapshot, dataset = Path(directory, "raw"), Path(directory, "dataset")
        size = write_lines(snapshot / "items" / "meta.json.gz", items)
        (dataset / "items").mkdir(parents=True)
        ids = pa.table({"item_id": [f"{n:010d}" for n in range(0, items, 2)]})
        pq.write_table(ids, dataset / "items" / "part-0.parquet")
        found = {run.__name__: measure(run, snapshot, dataset) for run in (ours, by_hand)}
    lines = items + len(range(0, items, 10))
    print(f"{lines:,} lines, {size / 1e6:.0f} MB of text in one gzip\n")
    print("| | seconds | lines/s | peak GiB | x by hand |\n|---|---|---|---|---|")
    for name, (seconds, peak) in found.items():
        ratio = found["by_hand"][0] / seconds
        rate = lines / seconds
        print(f"| {name} | {seconds:.1f} | {rate:,.0f} | {peak / 2**30:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()

"""Write review-like data of any size in the Amazon formats: latent taste, skew, drift, chosen dirt.

    python benchmarks/generate.py --format amazon_2018 --bytes 1e9 --output /tmp/reviews

Rows are made in blocks; block n draws from a random stream of (seed, n) alone, so the same
arguments give the same bytes with any number of processes, and memory stays at a block each.

The model, for a row at the fraction t of the span of time:

- user: activity is a power law (``--skew``), the same users stay active throughout;
- taste: a user belongs to one of ``--tastes`` groups, an item to one as well; with probability .7
  a user takes an item of his own group, else one of any;
- popularity: a power law over the items that are on sale;
- drift: half of the items are on sale at the beginning, the rest appear one by one, and which of
  them is the most popular moves on with time.

Dirt is a share of the rows, spread over ``DIRT``; the counts of each kind are in ``summary.json``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

BLOCK = 100_000  # rows: about 55 MB of text, a good bite for a process
BEGIN, DAYS = 1_388_534_400, 1_737  # 2014-01-01 to 2018-10-03, where the 2018 release ends
_BYTES_PER_ROW = {"amazon_2014": 500, "amazon_2018": 540, "amazon_2023": 500}
_OWN_TASTE = 0.7

# What becomes of a dirty row; the reason that preprocessing gives is beside it.
DIRT: dict[str, tuple[str | None, Callable[[bytes], bytes]]] = {
    "cut": ("not_json", lambda line: line[: len(line) // 2]),
    "header": ("not_an_object", lambda _: b"user,item,time"),
    "python literal": ("not_json", lambda line: line.replace(b'"', b"'")),
    "two in one": ("two_objects", lambda line: line + line),
    "blank": (None, lambda _: b""),
    "broken utf-8": (None, lambda line: line.replace(b"the ", b"th\xe9 ", 1)),
    "byte-order mark": (None, lambda line: b"\xef\xbb\xbf" + line),
    "carriage return": (None, lambda line: line + b"\r"),
    "duplicate": (None, lambda line: line + b"\n" + line),
    "NaN": (None, lambda line: line.replace(b"5.0", b"NaN", 1)),
    "giant": (None, lambda line: line[:-1] + b', "extra": "' + b"x" * 300_000 + b'"}'),
}


@dataclass(frozen=True)
class Model:
    """Hold everything the rows depend on; see the module's docstring."""

    format: str
    rows: int
    users: int
    items: int
    skew: float = 1.6
    tastes: int = 20
    dirt: float = 0.0
    seed: int = 42


def blocks(model: Model) -> Iterator[tuple[bytes, Counter[str]]]:
    """Yield every block's text and the kinds of dirt in it, in order."""
    for number in range(_n_blocks(model)):
        yield block(model, number)


def block(model: Model, number: int) -> tuple[bytes, Counter[str]]:
    """Return the lines of one block, each with its newline, and how many rows of each dirt."""
    rows = min(BLOCK, model.rows - number * BLOCK)
    rng = np.random.default_rng((model.seed, number))
    lines = _lines(model, rng, rows)
    kinds: Counter[str] = Counter()
    dirty = np.flatnonzero(rng.random(rows) < model.dirt)
    names = list(DIRT)
    for row, kind in zip(dirty, rng.integers(len(names), size=len(dirty)), strict=True):
        lines[row] = DIRT[names[kind]][1](lines[row])
        kinds[names[kind]] += 1
    return b"\n".join(lines) + b"\n", kinds


def _lines(model: Model, rng: np.random.Generator, rows: int) -> list[bytes]:
    when = rng.random(rows)
    user = _power(rng, rows, model.users, model.skew)
    item = _choose_items(model, rng, user, when)
    seconds = BEGIN + (when * DAYS * 86_400).astype(np.int64)
    stars = 1 + rng.choice(5, size=rows, p=[0.06, 0.05, 0.09, 0.2, 0.6])
    text = rng.integers(len(_TEXTS), size=rows)
    extra = rng.integers(1000, size=rows)
    write = _WRITERS[model.format]
    columns = (user, item, seconds, stars, text, extra)
    return [write(*row).encode() for row in zip(*(c.tolist() for c in columns), strict=True)]


def _choose_items(
    model: Model, rng: np.random.Generator, user: np.ndarray, when: np.ndarray
) -> np.ndarray:
    """Choose by popularity among what is on sale; item number modulo tastes is its group."""
    on_sale = (model.items * (0.5 + 0.5 * when)).astype(np.int64)
    rank = _power(rng, len(user), 1.0, model.skew, scale=on_sale)
    # A rank's item moves on: what was first in January is some way down the list in June.
    item = (rank + (when * 0.2 * model.items).astype(np.int64)) % on_sale
    own = rng.random(len(user)) < _OWN_TASTE
    group = user * 7919 % model.tastes
    return np.where(own, np.minimum(item // model.tastes * model.tastes + group, on_sale - 1), item)


def _power(
    rng: np.random.Generator,
    rows: int,
    n: float,
    skew: float,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """Draw ranks in [0, n) whose density falls as rank ** (1 / (1 + skew) - 1)."""
    size = n if scale is None else scale
    return (size * rng.random(rows) ** (1 + skew)).astype(np.int64)


def _texts() -> list[str]:
    """Return review texts as JSON strings: log-normal lengths, mean 300, some escapes and accents."""
    rng = np.random.default_rng(7)
    words = [
        "the",
        "a",
        "of",
        "great",
        "works",
        "fine",
        "really",
        "love",
        "it",
        "cheap",
        "broke",
        "after",
        "two",
        "weeks",
        "would",
        "buy",
        "again",
        "café",
    ]
    texts = []
    for length in np.exp(rng.normal(3.3, 1.0, size=2_000)):
        chosen = rng.choice(words, size=max(1, int(length * 1.25)))
        text = " ".join(chosen).replace("cheap broke", 'so "cheap"\nbroke')
        texts.append(json.dumps(text, ensure_ascii=bool(len(texts) % 4)))
    return texts


_TEXTS = _texts()


def _amazon_2014(user: int, item: int, time: int, stars: int, text: int, extra: int) -> str:
    return (
        f'{{"reviewerID": "A{user:012X}", "asin": "{item:010d}", "reviewerName": "name {user}", '
        f'"helpful": [{extra % 4}, {extra % 9}], "reviewText": {_TEXTS[text]}, "overall": {stars}.0, '
        f'"summary": "{extra} words", "unixReviewTime": {time}, "reviewTime": "02 28, 2014"}}'
    )


def _amazon_2018(user: int, item: int, time: int, stars: int, text: int, extra: int) -> str:
    vote = f'"vote": "1,{extra:03d}", ' if extra % 7 == 0 else ""
    style = '"style": {"Format:": " Hardcover"}, ' if extra % 3 == 0 else ""
    return (
        f'{{"overall": {stars}.0, {vote}"verified": {"false" if extra % 5 == 0 else "true"}, '
        f'"reviewTime": "02 26, 2014", "reviewerID": "A{user:012X}", "asin": "B{item:09d}", {style}'
        f'"reviewerName": "name {user}", "reviewText": {_TEXTS[text]}, "summary": "{extra} words", '
        f'"unixReviewTime": {time}}}'
    )


def _amazon_2023(user: int, item: int, time: int, stars: int, text: int, extra: int) -> str:
    return (
        f'{{"rating": {stars}.0, "title": "{extra} words", "text": {_TEXTS[text]}, "images": [], '
        f'"asin": "B{item:07d}{extra % 10:02d}", "parent_asin": "B{item:09d}", '
        f'"user_id": "AG{user:020X}", "timestamp": {time}{extra:03d}, "helpful_vote": {extra % 5}, '
        f'"verified_purchase": {"false" if extra % 5 == 0 else "true"}}}'
    )


_WRITERS = {"amazon_2014": _amazon_2014, "amazon_2018": _amazon_2018, "amazon_2023": _amazon_2023}


def write(model: Model, folder: Path, files: int = 1, *, compress: bool, processes: int = 2) -> int:
    """Write the files and ``summary.json``; return the bytes of text."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "json.gz" if compress else "json"
    shares = np.array_split(np.arange(_n_blocks(model)), min(files, _n_blocks(model)))
    jobs = [(folder / f"part-{n:05d}.{suffix}", share.tolist()) for n, share in enumerate(shares)]
    work = partial(_write_file, model)
    with ProcessPoolExecutor(processes) as pool:
        done = list(pool.map(work, *zip(*jobs, strict=True)))
    kinds = sum((k for _, k in done), Counter())
    size = sum(n for n, _ in done)
    summary = {**asdict(model), "text_bytes": size, "dirty": dict(kinds)}
    (folder / "_summary.json").write_text(json.dumps(summary, indent=2))
    return size


def _write_file(model: Model, path: Path, numbers: list[int]) -> tuple[int, Counter[str]]:
    kinds: Counter[str] = Counter()
    size = 0
    with gzip.open(path, "wb", 5) if path.suffix == ".gz" else path.open("wb") as out:
        for number in numbers:
            text, dirt = block(model, number)
            size += out.write(text)
            kinds += dirt
    return size, kinds


def _n_blocks(model: Model) -> int:
    return -(-model.rows // BLOCK)


def main() -> None:
    """Parse the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--format", choices=sorted(_WRITERS), default="amazon_2018")
    add("--output", type=Path, required=True)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--rows", type=float, help="rows, dirt included")
    size.add_argument("--bytes", type=float, help="bytes of text, about")
    add("--users", type=float, help="users to draw from; a quarter of the rows")
    add("--items", type=float, help="items to draw from; a fiftieth of the rows")
    add("--skew", type=float, default=1.6, help="0 is uniform")
    add("--tastes", type=int, default=20)
    add("--dirt", type=float, default=0.0, help="share of rows that are dirty")
    add("--files", type=int, default=8)
    add("--gzip", action="store_true")
    add("--seed", type=int, default=42)
    add("--processes", type=int, default=2)
    a = parser.parse_args()
    rows = int(a.rows or a.bytes / _BYTES_PER_ROW[a.format])
    users, items = int(a.users or max(20, rows / 4)), int(a.items or max(20, rows / 50))
    model = Model(a.format, rows, users, items, a.skew, a.tastes, a.dirt, a.seed)
    written = write(model, a.output, a.files, compress=a.gzip, processes=a.processes)
    print(f"{rows:,} rows, {written:,} bytes of text in {a.output}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Parse one block of lines: what a worker process does, from bytes to a table and bad lines."""

from __future__ import annotations

import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from recommender.metadata.fields import Item, read_item
from recommender.metadata.lines import Block
from recommender.metadata.literals import BadLineError, parse
from recommender.metadata.table import SCHEMA


@dataclass
class Parsed:
    """Hold what became of a block's lines.

    Attributes:
        lines: how many there were.
        blank: lines without a character.
        tables: bucket -> rows of ``table.SCHEMA``; equal ids are in the same bucket.
        bad: (line, reason, raw) of the others.
    """

    lines: int
    blank: int = 0
    tables: dict[int, pa.RecordBatch] = field(default_factory=dict)
    bad: list[tuple[int, str, bytes]] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        """Count the bad lines by reason."""
        return Counter(reason for _, reason, _ in self.bad)


def parse_block(block: Block, buckets: int) -> Parsed:
    """Parse lines and sort the items into buckets by a hash of their id."""
    result = Parsed(len(block.lines))
    items: dict[int, list[Item]] = {}
    with warnings.catch_warnings():
        # A literal may hold "\d", of which Python warns on stderr, line by line.
        warnings.simplefilter("ignore")
        for number, line in enumerate(block.lines, block.first):
            try:
                record = parse(line)
                if record is None:
                    result.blank += 1
                    continue
                item = read_item(record)
            except BadLineError as error:
                result.bad.append((number, str(error), line))
                continue
            bucket = zlib.crc32(item.item_id.encode()) % buckets
            items.setdefault(bucket, []).append(item)
    for bucket, rows in items.items():
        columns = [
            pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), SCHEMA, strict=True)
        ]
        result.tables[bucket] = pa.record_batch(columns, schema=SCHEMA)
    return result

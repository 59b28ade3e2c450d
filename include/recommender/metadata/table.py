"""Keep one row per item, and read and write the table of items.

Several lines about one item occur (a page scraped twice). The one that says most wins: the most
filled fields, then the longest text, then the greatest in the order of the fields. The rule looks at
content only, so the order of lines and files does not matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender import storage
from recommender.columns import BRAND, CATEGORY, ITEM_ID, PRICE, TITLE

SCHEMA = pa.schema(
    [
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(TITLE, pa.string()),
        pa.field(CATEGORY, pa.string()),
        pa.field(BRAND, pa.string()),
        pa.field(PRICE, pa.float64()),
    ]
)
FIELDS = (TITLE, CATEGORY, BRAND, PRICE)
_TEXTS = (TITLE, CATEGORY, BRAND)


def merge(rows: pa.Table) -> pa.Table:
    """Keep the best row of each item, in order of ``item_id``.

    Args:
        rows: in ``SCHEMA``, all lines about the items that occur in it.
    """
    filled, length = 0, 0
    for name in FIELDS:
        filled = pc.add(filled, pc.is_valid(rows[name]).cast(pa.int64()))
    for name in _TEXTS:
        length = pc.add(length, pc.fill_null(pc.utf8_length(rows[name]), 0).cast(pa.int64()))
    ranked = rows.append_column("filled", filled).append_column("length", length)
    keys = [(ITEM_ID, "ascending")] + [(n, "descending") for n in ("filled", "length", *FIELDS)]
    ranked = ranked.sort_by(keys).combine_chunks()
    ids = ranked[ITEM_ID]
    if len(ids) < 2:
        return ranked.select(SCHEMA.names)
    differs = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(zero_copy_only=False)
    first = np.concatenate([[True], differs])
    return ranked.filter(pa.array(first)).select(SCHEMA.names)


def write(rows: pa.Table, path: Path) -> None:
    """Write a local Parquet file; equal rows give equal bytes."""
    pq.write_table(rows.cast(SCHEMA), path, compression="zstd")


def read(uri: str) -> pa.Table | None:
    """Read a dataset's table of items; None when its snapshot had no metadata.

    Args:
        uri: ``<dataset>/items_metadata``.

    Returns:
        rows of ``SCHEMA``, one per item, known to the dataset or not; in no order.
    """
    with storage.local_copy(uri) as directory:
        files = sorted(directory.rglob("*.parquet")) if directory.is_dir() else []
        tables = [pq.ParquetFile(file).read() for file in files]
    return pa.concat_tables(tables) if tables else None

"""Keep the items' titles beside a model, so that a person who asks it reads more than ids."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender.columns import ITEM_ID, TITLE

FILE = "titles.parquet"


def align(known: pa.Table | None, ids: pa.StringArray) -> pa.StringArray | None:
    """Return the title of each id, null where there is none; None when none is known at all.

    Args:
        known: item ids and titles, one row an item; None without metadata.
        ids: in order of index.
    """
    if known is None:
        return None
    places = pc.index_in(ids, known.column(ITEM_ID).combine_chunks())
    titles = known.column(TITLE).combine_chunks().take(places)
    return titles if titles.null_count < len(titles) else None


def write(directory: Path, titles: pa.StringArray | None) -> None:
    """Write below a candidate's local directory; nothing where no title is known."""
    if titles is not None:
        pq.write_table(pa.table({TITLE: titles}), directory / FILE, compression="zstd")


def read(path: Path) -> pa.StringArray:
    """Read what ``write`` wrote."""
    return pq.ParquetFile(path).read([TITLE]).column(TITLE).combine_chunks()

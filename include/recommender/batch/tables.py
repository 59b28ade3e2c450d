"""Store ranked lists: Parquet with one row an item of a list, or JSON Lines with one line a list.

Parquet: user_id, item_id, rank (from 1), score, source, version, title; in order of user, then
rank, so that a reader who wants some users skips the row groups without them. Ids, titles and
versions are dictionary-encoded from the indices of the ranking: no string is built per row.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recommender.batch.ranked import Chunk

Format = Literal["parquet", "jsonl"]
# About 60 MB of Parquet: some seconds for one reader, and few files for a hundred million rows.
ROWS_PER_FILE = 5_000_000


@dataclass(frozen=True)
class Names:
    """Say how indices and constants are spelt in the output.

    Attributes:
        key: name of the column of whose list it is.
        value: name of the column of the recommended item.
        keys: ids of whose lists they are.
        items: ids of the items.
        titles: (items,) titles, null where none is known.
        version: id of the version.
    """

    key: str
    value: str
    keys: pa.StringArray
    items: pa.StringArray
    titles: pa.StringArray
    version: str


class Writer(Protocol):
    """Write one file's chunks."""

    def write(self, chunk: Chunk) -> None:
        """Append a chunk."""

    def close(self) -> None:
        """Finish the file."""


def write(
    directory: Path,
    chunks: Iterable[Chunk],
    names: Names,
    sources: Sequence[str],
    of: npt.NDArray[np.int8],
    format_: Format,
) -> int:
    """Write all chunks below a local directory and return the rows; one chunk is ranked meanwhile.

    Args:
        directory: where ``part-00000.parquet`` and so on go.
        chunks: in order.
        names: spellings.
        sources: names of where a list comes from.
        of: (keys,) place in ``sources`` of each key.
        format_: of the files.
    """
    directory.mkdir(parents=True)
    rows = total = number = 0
    writer: Writer | None = None
    with ThreadPoolExecutor(1) as pool:
        pending: Future[None] | None = None
        for chunk in chunks:
            if pending is not None:
                pending.result()
            if writer is None or rows >= ROWS_PER_FILE:
                if writer is not None:
                    writer.close()
                writer = _open(directory, number, names, sources, of, format_)
                rows, number = 0, number + 1
            pending = pool.submit(writer.write, chunk)
            size = int(np.count_nonzero(chunk.ranked.items >= 0))
            rows, total = rows + size, total + size
        if pending is not None:
            pending.result()
        if writer is not None:
            writer.close()
    return total


def _open(
    directory: Path,
    number: int,
    names: Names,
    sources: Sequence[str],
    of: npt.NDArray[np.int8],
    format_: Format,
) -> Writer:
    if format_ == "jsonl":
        return _Lines(directory / f"part-{number:05d}.jsonl.gz", names, sources, of)
    return _Columns(directory / f"part-{number:05d}.parquet", names, sources, of)


class _Columns:
    """Write Parquet."""

    def __init__(
        self, path: Path, names: Names, sources: Sequence[str], of: npt.NDArray[np.int8]
    ) -> None:
        self._names, self._of = names, of
        self._sources = pa.array(sources, pa.string())
        self._titles = names.titles.dictionary_encode()
        fields = [(names.key, pa.string()), (names.value, pa.string()), ("rank", pa.int32())]
        fields += [("score", pa.float32()), ("source", pa.string()), ("version", pa.string())]
        self._schema = pa.schema([*fields, ("title", pa.string())])
        dictionaries = [names.key, names.value, "source", "version", "title"]
        encoded = [
            pa.field(
                f.name, pa.dictionary(pa.int32(), pa.string()) if f.name in dictionaries else f.type
            )
            for f in self._schema
        ]
        self._encoded = pa.schema(encoded)
        # Without Arrow's own schema in the file every reader sees plain strings.
        self._writer = pq.ParquetWriter(
            path,
            self._encoded,
            compression="zstd",
            use_dictionary=dictionaries,
            dictionary_pagesize_limit=16 << 20,
            store_schema=False,
        )

    def write(self, chunk: Chunk) -> None:
        """Append a chunk as one row group."""
        names, items = self._names, chunk.ranked.items
        there = items >= 0
        counts = there.sum(axis=1)
        own = np.repeat(np.arange(len(items), dtype=np.int32), counts)
        place = (np.arange(items.shape[1], dtype=np.int32) + 1)[None].repeat(len(items), axis=0)
        taken = items[there]
        columns = {
            names.key: _coded(own, names.keys.take(pa.array(chunk.rows))),
            names.value: _coded(taken, names.items),
            "rank": pa.array(place[there]),
            "score": pa.array(chunk.ranked.scores[there]),
            "source": _coded(self._of[chunk.rows][own].astype(np.int32), self._sources),
            "version": _coded(np.zeros(len(own), np.int32), pa.array([names.version])),
            "title": pa.DictionaryArray.from_arrays(
                self._titles.indices.take(pa.array(taken)), self._titles.dictionary
            ),
        }
        self._writer.write_table(
            pa.table(columns, schema=self._encoded), row_group_size=max(1, len(own))
        )

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


class _Lines:
    """Write gzipped JSON Lines."""

    def __init__(
        self, path: Path, names: Names, sources: Sequence[str], of: npt.NDArray[np.int8]
    ) -> None:
        self._names, self._of, self._sources = names, of, sources
        self._items, self._titles = names.items.to_pylist(), names.titles.to_pylist()
        self._file = gzip.open(path, "wt", encoding="utf-8", compresslevel=4)  # noqa: SIM115 - closed by close

    def write(self, chunk: Chunk) -> None:
        """Append a chunk, one line a list."""
        keys = self._names.keys.take(pa.array(chunk.rows)).to_pylist()
        sources = self._of[chunk.rows].tolist()
        items, scores = chunk.ranked.items.tolist(), chunk.ranked.scores.tolist()
        for key, source, own, values in zip(keys, sources, items, scores, strict=True):
            line = {
                self._names.key: key,
                "source": self._sources[source],
                "version": self._names.version,
                "items": [
                    self._entry(item, score)
                    for item, score in zip(own, values, strict=True)
                    if item >= 0
                ],
            }
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _entry(self, item: int, score: float) -> dict[str, Any]:
        entry: dict[str, Any] = {self._names.value: self._items[item], "score": score}
        title = self._titles[item]
        return entry if title is None else {**entry, "title": title}


def _coded(indices: npt.NDArray[np.int32], dictionary: pa.StringArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices), dictionary)

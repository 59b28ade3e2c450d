"""Open what preprocessing wrote: windows, id tables and profile, whole and unchanged."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recommender import interactions, manifest, storage
from recommender.columns import ITEM, ITEM_ID, TITLE, USER, USER_ID
from recommender.errors import BadDataError
from recommender.interactions import Interactions
from recommender.lineage import identity
from recommender.locations import ITEMS_METADATA, MANIFEST, PROFILE, join
from recommender.metadata import table
from recommender.models import content

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Dataset:
    """Read one dataset directory, each part only when asked for.

    Attributes:
        uri: where it lies.
        about: what preprocessing wrote into the manifest.
        sha256: of the manifest, which holds every file's; equal ones are equal datasets.
        content: hash of the tables alone, equal also when the profile or a name differs.
        profile: the data profile.
        users: (users,) ids in order of index.
        items: (items,) ids in order of index.
    """

    uri: str
    about: dict[str, Any]
    sha256: str
    content: str
    profile: dict[str, Any]
    users: pa.StringArray
    items: pa.StringArray

    @property
    def shape(self) -> tuple[int, int]:
        """Return (users, items)."""
        return len(self.users), len(self.items)

    @property
    def fit_until(self) -> int:
        """Return the end of the rows that may be fitted, seconds since the epoch."""
        return int(self.profile["fit_until"])

    def window(self, *names: str) -> Interactions:
        """Read a window with confidence and time, or some together: a pair's latest and strongest."""
        with ExitStack() as stack:
            copies = [
                stack.enter_context(storage.local_copy(join(self.uri, name))) for name in names
            ]
            return interactions.read(copies, self.shape)

    def columns(self, *names: str) -> dict[str, npt.NDArray[Any]]:
        """Read all columns of some windows together, one window after the other."""
        with ExitStack() as stack:
            copies = [storage.local_copy(join(self.uri, name)) for name in names]
            return interactions.read_columns(map(stack.enter_context, copies), interactions.COLUMNS)

    def pairs(self, *names: str) -> csr_matrix:
        """Read who has what in some windows together: (users, items) CSR of ones."""
        found = csr_matrix(self.shape, dtype="float32")
        for name in names:
            with storage.local_copy(join(self.uri, name)) as directory:
                found = found.maximum(interactions.read_pairs([directory], self.shape))
        found.sort_indices()
        return found

    def features(self) -> csr_matrix | None:
        """Return (items, terms) TF-IDF of the items' metadata; None when there is none."""
        metadata = table.read(join(self.uri, ITEMS_METADATA))
        return None if metadata is None else content.features(metadata, self.items)

    def titles(self) -> pa.Table | None:
        """Read item ids and titles of the metadata; None where the snapshot had none."""
        metadata = table.read(join(self.uri, ITEMS_METADATA))
        return None if metadata is None else metadata.select([ITEM_ID, TITLE])


def open_dataset(uri: str) -> Dataset:
    """Verify a dataset's manifest and read its id tables.

    Raises:
        ManifestError: the directory is unfinished, changed or no dataset.
        BadDataError: an id table is not in order of its index.
    """
    sealed = manifest.verify(uri, "dataset")
    return Dataset(
        uri=uri,
        about=sealed.about,
        sha256=storage.sha256(join(uri, MANIFEST)),
        content=identity.content(sealed),
        profile=storage.read_json(join(uri, PROFILE)),
        users=_read_ids(join(uri, "users"), USER, USER_ID),
        items=_read_ids(join(uri, "items"), ITEM, ITEM_ID),
    )


def _read_ids(uri: str, index: str, name: str) -> pa.StringArray:
    """Read an id table into the array whose position i holds the id of index i."""
    with storage.local_copy(uri) as directory:
        files = sorted(directory.rglob("*.parquet"))
        tables = [pq.ParquetFile(file).read([index, name]) for file in files]
    if not tables:
        message = f"expected the id table {uri}, found no Parquet file; preprocess again"
        raise BadDataError(message)
    table = pa.concat_tables(tables).sort_by(index)
    if not np.array_equal(table.column(index).to_numpy(), np.arange(table.num_rows)):
        message = (
            f"{uri}: expected each index from 0 to {table.num_rows - 1} once, found gaps or "
            "repeats; preprocess again"
        )
        raise BadDataError(message)
    return table.column(name).cast(pa.string()).combine_chunks()

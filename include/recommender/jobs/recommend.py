"""Recommend to every user of a dataset with a published version, and list similar items.

Writes users/ (the lists), items/ (similar items), popular/ (one list for whoever is not among the
users), summary.json and, last, manifest.json: without it the output is not there. A finished output
stays as it is, for readers may be at it: the same request again is done already, another one refused.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender import artifact, manifest, storage, titles
from recommender.batch import audience, denylist, ranked, tables
from recommender.batch.ranked import Chunk
from recommender.batch.tables import Names
from recommender.config import Recommender
from recommender.dataset import Dataset, open_dataset
from recommender.errors import ConfigError
from recommender.jobs import cli
from recommender.jobs.outputs import clear, require_apart
from recommender.lineage import provenance
from recommender.locations import MANIFEST, SUMMARY, join
from recommender.process import one_blas_thread, peak_memory_mb
from recommender.ranking import Recommendations
from recommender.serving.arrays import Arrays
from recommender.serving.load import VERSION, fetch_arrays

_log = logging.getLogger("recommender.jobs.recommend")
KIND = "recommendations"
USERS, ITEMS, POPULAR = "users", "items", "popular"
_OWN = {USERS, ITEMS, POPULAR, SUMMARY, MANIFEST}
# What a reader puts in place of a user id that is in no list; no id of a user is empty.
NOBODY = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; see ``--help``."""
    parser = cli.arg_parser("recommend", __doc__ or "")
    add = parser.add_argument
    add("--version", required=True, type=cli.location, metavar="URI", help="published version")
    add(
        "--dataset",
        required=True,
        type=cli.location,
        metavar="URI",
        help="whose users, and what they have",
    )
    add(
        "--output",
        required=True,
        type=cli.location,
        metavar="URI",
        help="lists; what an unfinished run has left is replaced",
    )
    return cli.run(_run, parser, argv)


def _run(arguments: argparse.Namespace, recommender: Recommender) -> None:
    inputs = [arguments.version, arguments.dataset]
    require_apart([arguments.output], inputs)
    began, settings = time.monotonic(), recommender.recommend
    deny = denylist.read(settings.deny_list)
    dataset = open_dataset(arguments.dataset)
    request = {
        "version_sha256": storage.sha256(join(arguments.version, MANIFEST)),
        "dataset_sha256": dataset.sha256,
        "n": settings.n,
        "format": settings.format,
        "deny_list_sha256": hashlib.sha256("\n".join(deny).encode()).hexdigest(),
    }
    if _is_finished(arguments.output, request):
        return
    clear(arguments.output, lambda name: name in _OWN)
    with (
        fetch_arrays(arguments.version, VERSION) as (arrays, about),
        tempfile.TemporaryDirectory(prefix="recsys-") as name,
        one_blas_thread(),
    ):
        version = arguments.version.rsplit("/", 1)[-1]
        names = _titles(dataset, arrays)
        writing = _Writing(Path(name), arrays, names, version, settings.format)
        denied = arrays.items.indices(deny)
        counts = writing.lists(dataset, settings.n, denied[denied >= 0])
        summary = {
            "recommender": recommender.name,
            "version": version,
            "dataset": {"uri": dataset.uri, "sha256": dataset.sha256},
            "n": settings.n,
            "format": settings.format,
            **counts,
            "denied": int(np.sum(denied >= 0)),
            "denied_unknown": int(np.sum(denied < 0)),
            "seconds": round(time.monotonic() - began, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
        }
        storage.write_json(join(name, SUMMARY), summary)
        facts = {**summary, "fit_until": about.get("fit_until"), "request": request}
        facts |= provenance.describe()
        artifact.publish(Path(name), arguments.output, KIND, facts)
    _log.info(f"recommendations at {arguments.output}: {summary}")


def _is_finished(output: str, request: dict[str, Any]) -> bool:
    """Tell whether these lists are there already.

    Raises:
        ConfigError: others are.
    """
    if not storage.exists(join(output, MANIFEST)):
        return False
    found = manifest.read(output, KIND).about.get("request")
    if found == request:
        _log.info(f"the recommendations at {output} are finished: nothing to do")
        return True
    message = (
        f"expected nothing or these very recommendations at {output}, found finished ones of another "
        f"request ({found}): readers may be at them. Name another output, or delete them first"
    )
    raise ConfigError(message)


def _titles(dataset: Dataset, arrays: Arrays) -> pa.StringArray:
    """Return the title of every item of the version: the dataset's, else the version's, else null."""
    found = [titles.align(dataset.titles(), arrays.items.table)]
    found += [titles.read(arrays.titles) if arrays.titles else None]
    unknown = pa.nulls(len(arrays.items), pa.string())
    return pc.coalesce(*(one for one in found if one is not None), unknown)


class _Writing:
    """Write all lists below a local directory."""

    def __init__(
        self,
        directory: Path,
        arrays: Arrays,
        titles: pa.StringArray,
        version: str,
        form: tables.Format,
    ) -> None:
        self._directory, self._arrays = directory, arrays
        self._titles, self._version, self._format = titles, version, form

    def lists(self, dataset: Dataset, n: int, denied: npt.NDArray[np.int32]) -> dict[str, Any]:
        """Write the lists of users, the similar items and the popular ones; return counts."""
        arrays = self._arrays
        everyone = audience.Everyone(arrays, dataset)
        began = time.monotonic()
        user_rows = self._write(
            USERS,
            ranked.for_users(arrays, everyone, n, denied),
            everyone.ids,
            audience.SOURCES,
            everyone.sources,
        )
        seconds = time.monotonic() - began
        sources = np.bincount(everyone.sources, minlength=len(audience.SOURCES))
        item_rows = self._write(
            ITEMS,
            ranked.for_items(arrays, n, denied),
            arrays.items.table,
            ("similar",),
            np.zeros(len(arrays.items), dtype=np.int8),
            value="similar_item_id",
        )
        self._write(
            POPULAR,
            [_one(ranked.most_popular(arrays, n, denied))],
            pa.array([NOBODY]),
            ("popular",),
            np.zeros(1, dtype=np.int8),
        )
        return {
            "users": len(everyone),
            **{f"users_{k}": int(v) for k, v in zip(audience.SOURCES, sources, strict=True)},
            "user_rows": user_rows,
            "items": len(arrays.items),
            "item_rows": item_rows,
            "users_per_second": round(len(everyone) / max(seconds, 1e-9)),
        }

    def _write(
        self,
        folder: str,
        chunks: Any,  # noqa: ANN401
        keys: pa.StringArray,
        sources: Sequence[str],
        of: npt.NDArray[np.int8],
        value: str = "item_id",
    ) -> int:
        key = "item_id" if folder == ITEMS else "user_id"
        names = Names(key, value, keys, self._arrays.items.table, self._titles, self._version)
        return tables.write(self._directory / folder, chunks, names, sources, of, self._format)


def _one(lists: Recommendations) -> Chunk:
    return Chunk(np.zeros(1, np.int32), Recommendations(lists.items[None], lists.scores[None]))

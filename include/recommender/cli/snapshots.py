"""Commands about raw data: ``snapshot create``, ``snapshot list`` and ``snapshot verify``."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import Any, get_args

from recommender import config, manifest, storage
from recommender.cli.command import Answer, Commands, Scope
from recommender.cli.output import Table
from recommender.config import Format
from recommender.environment import config_directory
from recommender.errors import NotFoundError, SnapshotError
from recommender.lake import landing, snapshots
from recommender.locations import MANIFEST, join

_COLUMNS = ("date", "state", "files", "rows", "bytes", "format", "items")


def register(commands: Commands) -> None:
    """Add the commands of this group."""
    group = commands.group("snapshot", "Bring raw data into the lake, and look at it.")
    create = group.add(
        "create",
        create_snapshot,
        "Upload a download as the snapshot of a date, with a manifest.",
        "The nightly run takes the snapshot for there only when its manifest is. Repeat the same\n"
        "command after a failure: what has arrived is not sent again. Another snapshot of the same\n"
        "date is never replaced (exit code 4).",
    )
    create.add_argument("source", type=Path, metavar="PATH", help="a file, or a folder of files")
    create.add_argument("--date", required=True, type=_date, metavar="YYYY-MM-DD")
    create.add_argument(
        "--items", type=Path, metavar="PATH", help="metadata of the items: a file, or a folder"
    )
    create.add_argument(
        "--format", choices=get_args(Format), default="auto", help="raw format (default: auto)"
    )
    listing = group.add("list", list_snapshots, "List the snapshots of a dataset.")
    verify = group.add("verify", verify_snapshot, "Read a snapshot and compare every SHA-256.")
    verify.add_argument("date", type=_date, metavar="YYYY-MM-DD")
    for parser in (create, listing, verify):
        parser.add_argument(
            "--dataset", metavar="NAME", help="folder of the lake (default: the recommender's)"
        )


def create_snapshot(scope: Scope) -> Answer:
    """Upload a download."""
    asked = scope.arguments
    target = scope.locations.snapshot(_dataset(scope), asked.date)
    made, written = landing.land(asked.source, asked.items, target, asked.format)
    document = {"uri": target, "written": written, **made.to_json()}
    about = made.about
    line = (
        f"{target}: {len(made.files)} files, {about['rows']:,} rows, {about['bytes']:,} bytes, "
        f"{about['format']}, {'written' if written else 'there already, unchanged'}"
    )
    return Answer(document, (line,))


def list_snapshots(scope: Scope) -> Answer:
    """List every dated folder, unfinished ones included."""
    dataset = _dataset(scope)
    rows: list[dict[str, Any]] = [
        {"date": date.isoformat(), **landing.describe(scope.locations.snapshot(dataset, date))}
        for date in snapshots.available(scope.locations, dataset)
    ]
    if not rows:
        return Answer([], (f"no snapshot below {scope.locations.snapshots(dataset)}/",))
    table = Table(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])
    problems = [row["problem"] for row in rows if row["problem"]]
    return Answer(rows, (table, *problems))


def verify_snapshot(scope: Scope) -> Answer:
    """Read every byte of a snapshot with a manifest."""
    uri = scope.locations.snapshot(_dataset(scope), scope.arguments.date)
    if not storage.exists(join(uri, MANIFEST)):
        message = (
            f"expected a snapshot with a manifest at {uri}, found none: `recsys snapshot list` shows "
            "what is there, `recsys snapshot create` writes one"
        )
        raise NotFoundError(message)
    found = manifest.verify(uri, snapshots.KIND)
    line = f"{uri}: {len(found.files)} files are what the manifest says"
    return Answer({"uri": uri, **found.to_json()}, (line,))


def _dataset(scope: Scope) -> str:
    if scope.arguments.dataset:
        return str(scope.arguments.dataset)
    file = config_directory() / "recommenders" / f"{scope.recommender}.yaml"
    return config.load(str(file)).dataset


def _date(text: str) -> dt.date:
    try:
        return snapshots.parse_date(text)
    except SnapshotError as error:
        raise argparse.ArgumentTypeError(str(error)) from error

"""The command ``prune``: delete versions that nobody needs any more, after showing which."""

from __future__ import annotations

from typing import Any

from recommender.cli.champion import add_request, request
from recommender.cli.command import Answer, Commands, Scope
from recommender.cli.output import Table
from recommender.errors import ConfigError
from recommender.registry import retention
from recommender.registry.retention import Fate, Policy


def register(commands: Commands) -> None:
    """Add the command."""
    default = Policy()
    prune = commands.add(
        "prune",
        prune_versions,
        "Show which versions nobody needs any more; with --delete, delete them.",
        "Kept are the champion, the versions of the last champion records, the newest versions by\n"
        "snapshot, the named ones, and what is unfinished. Safe to repeat and beside running DAGs.\n"
        "Decisions and the champion's history are never deleted. On a bucket with versioning,\n"
        "deleted objects take space until a lifecycle rule expires noncurrent versions.",
    )
    prune.add_argument(
        "--last", type=int, default=default.last, metavar="N",
        help="newest versions to keep (default: %(default)s)",
    )  # fmt: skip
    prune.add_argument(
        "--champions", type=int, default=default.champions, metavar="N",
        help="champion records whose versions to keep (default: %(default)s)",
    )  # fmt: skip
    prune.add_argument(
        "--keep", action="append", default=[], metavar="VERSION", help="keep this one; repeatable"
    )
    prune.add_argument("--delete", action="store_true", help="delete; needs --reason")
    add_request(prune, required=False)


def prune_versions(scope: Scope) -> Answer:
    """Plan, and carry the plan out if that was asked for."""
    asked = scope.arguments
    try:
        policy = Policy(asked.last, asked.champions, frozenset(asked.keep))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if asked.delete:
        fates = retention.prune(scope.locations, request(scope), policy)
    else:
        fates = retention.plan(scope.locations, scope.recommender, policy)
    rows = [_row(fate, deleted=asked.delete) for fate in fates]
    gone = [fate for fate in fates if not fate.kept]
    size = sum(fate.version.size or 0 for fate in gone)
    done = "deleted" if asked.delete else "would be deleted (--delete --reason ... does it)"
    table = Table(("version", "fate", "why", "bytes"), [tuple(row.values()) for row in rows])
    return Answer(
        {"deleted": asked.delete, "versions": rows},
        (table, f"{len(gone)} of {len(fates)} versions, {size:,} bytes, {done}"),
    )


def _row(fate: Fate, *, deleted: bool) -> dict[str, Any]:
    gone = "deleted" if deleted else "would go"
    return {
        "version": fate.version.name,
        "fate": "kept" if fate.kept else gone,
        "why": fate.kept or None,
        "bytes": fate.version.size,
    }

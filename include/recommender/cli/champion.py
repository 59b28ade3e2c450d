"""Commands that move the champion or tell how it moved: ``champions``, ``promote``, ``rollback``."""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
from typing import Any

from recommender.cli.command import Answer, Commands, Scope
from recommender.cli.output import Table
from recommender.errors import ConfigError
from recommender.gate import ChampionRef
from recommender.registry import changes, pointer
from recommender.registry.changes import Changed, Request

_REPEAT = """\
Safe to repeat after an interruption if the versions are named: what is done already is not done
again. If somebody else moves the champion meanwhile, nothing is changed and the exit code is 4."""


def register(commands: Commands) -> None:
    """Add the commands of this group."""
    commands.add("champions", list_champions, "Show every move of the champion: when, who and why.")
    promote = commands.add(
        "promote",
        promote_version,
        "Make a published version champion, whatever the gate said.",
        f"Every file of the version is verified first.\n\n{_REPEAT}",
    )
    promote.add_argument("version", metavar="VERSION", help="as `recsys list` shows it")
    promote.add_argument(
        "--expect", metavar="VERSION", help="only if this one is the champion (default: any)"
    )
    add_request(promote)
    rollback = commands.add(
        "rollback",
        roll_back,
        "Return to the champion before, and withdraw the present one.",
        "Goes to the last champion that was not itself rolled back, once every file of it is\n"
        "verified. No retry of the withdrawn version's run promotes it again; `recsys promote` "
        f"does.\n\n{_REPEAT}",
    )
    rollback.add_argument(
        "leave",
        metavar="VERSION",
        nargs="?",
        help="the champion to roll back from (default: whichever it is)",
    )
    rollback.add_argument("--to", metavar="VERSION", help="return to this version instead")
    add_request(rollback)


def add_request(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add what every change has to say: why, and who asks for it."""
    parser.add_argument(
        "--reason", metavar="TEXT", required=required, help="why; kept in the record"
    )
    parser.add_argument(
        "--by", metavar="NAME", default=None, help="who asks for it (default: the user's login)"
    )


def request(scope: Scope) -> Request:
    """Return who asks for a change and why.

    Raises:
        ConfigError: the reason is empty.
    """
    by = scope.arguments.by or getpass.getuser()
    try:
        return Request(scope.recommender, by, scope.arguments.reason or "", dt.datetime.now(dt.UTC))
    except ValueError as error:
        message = f"--reason: {error}"
        raise ConfigError(message) from error


def promote_version(scope: Scope) -> Answer:
    """Make a version champion."""
    asked = scope.arguments
    done = changes.promote(scope.locations, request(scope), asked.version, expected=asked.expect)
    return _answer(done)


def roll_back(scope: Scope) -> Answer:
    """Return to an earlier champion."""
    asked = scope.arguments
    done = changes.roll_back(scope.locations, request(scope), leave=asked.leave, target=asked.to)
    return _answer(done)


def list_champions(scope: Scope) -> Answer:
    """Show the records of the pointer, newest last."""
    records = pointer.history(scope.locations, scope.recommender)
    if not records:
        return Answer([], (scope.nothing(f"no version of {scope.recommender} has been promoted"),))
    rows = [_row(record) for record in records]
    table = Table(list(rows[0]), [list(row.values()) for row in rows])
    return Answer([record.to_json() for record in records], (table,))


def _answer(done: Changed) -> Answer:
    document = {
        "moved": done.moved,
        "champion": done.champion.to_json(),
        "before": done.before.version,
    }
    if done.moved:
        line = f"champion is {done.champion.version}, it was {done.before.version}"
    else:
        line = f"nothing to do: champion is {done.champion.version} already"
    return Answer(document, (line,))


def _row(record: ChampionRef) -> dict[str, Any]:
    change = record.change
    return {
        "record": record.sequence,
        "at": change.at if change else record.decided_at,
        "champion": record.version,
        "action": change.action if change else "promotion",
        "by": change.by if change else "gate",
        "reason": change.reason if change else None,
    }

"""Run one command: ``recsys COMMAND ...`` or ``python -m recommender.cli COMMAND ...``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from recommender.cli.command import Commands, common_options, execute

GROUPS = (
    "versions",
    "explain",
    "champion",
    "queries",
    "history",
    "retention",
    "reproduce",
    "snapshots",
)
"""Modules of this package whose ``register`` adds commands, in the order of ``--help``."""

_EXIT_CODES = """\
exit codes:
  0  done
  1  unexpected: a traceback precedes the last line
  2  bad arguments
  3  an error with a name and a remedy; nothing was changed
  4  somebody else changed the same thing first: look, and decide again
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    top = argparse.ArgumentParser(
        prog="recsys",
        description="Look at published models, and move the champion.",
        epilog=_EXIT_CODES,
        parents=[common_options(suppress=False)],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = Commands(top)
    for group in GROUPS:
        importlib.import_module(f"recommender.cli.{group}").register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is named by the arguments; return its exit code."""
    return execute(parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())

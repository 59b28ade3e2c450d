"""Give every command one skeleton: the same options, output, exit codes and last words.

A command is a function from ``Scope`` (what was asked, and where) to ``Answer`` (a document for
programs and what a person sees). It prints nothing itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recommender import config, environment, storage
from recommender.cli.output import Part, show
from recommender.environment import Environment
from recommender.errors import ConfigError
from recommender.jobs.cli import exit_code
from recommender.locations import Locations

RECOMMENDER_VARIABLE = "RECSYS_RECOMMENDER"


@dataclass(frozen=True)
class Answer:
    """Hold what a command found.

    Attributes:
        document: for ``--json``: JSON values only.
        parts: for a person: lines of text and tables, in order.
        code: the exit code of a command that ran through.
    """

    document: Any
    parts: tuple[Part, ...]
    code: int = 0


class Scope:
    """Know what was asked, and where; nothing is read before it is needed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments

    @cached_property
    def environment(self) -> Environment:
        """Return the environment that ``--environment`` or RECSYS_ENVIRONMENT names.

        Raises:
            ConfigError: there is none of that name, or it is the embedded AWS and nothing says
                where that is: boto3 would then go to a real account.
        """
        found = environment.load(self.arguments.environment)
        if found.simulated and storage.is_s3(found.models) and "AWS_ENDPOINT_URL" not in os.environ:
            message = (
                f"environment {found.name} is the embedded AWS, and AWS_ENDPOINT_URL does not say "
                'where it is. Start it with `make up`, then: eval "$(make env)"; or name another '
                "environment with --environment"
            )
            raise ConfigError(message)
        return found

    @cached_property
    def locations(self) -> Locations:
        """Return where everything is."""
        return self.environment.locations

    @cached_property
    def recommender(self) -> str:
        """Return the recommender that is named, or the only one that is configured.

        Raises:
            ConfigError: none is named, and there is not exactly one.
        """
        if self.arguments.recommender:
            return str(self.arguments.recommender)
        names = _configured()
        if len(names) == 1:
            return names[0]
        message = (
            f"expected --recommender NAME (or {RECOMMENDER_VARIABLE}), found none; "
            f"configured: {', '.join(names) or 'none'}"
        )
        raise ConfigError(message)

    def nothing(self, what: str) -> str:
        """Say that there is nothing yet; also which names are configured, if this one is not."""
        names = _configured()
        typed = "" if self.recommender in names else f" (configured: {', '.join(names) or 'none'})"
        return f"{what} yet{typed}"


Action = Callable[[Scope], Answer]


class Commands:
    """Collect the commands of all groups under one parser."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._common = common_options(suppress=True)
        self._commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(
        self, name: str, action: Action, summary: str, detail: str = ""
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser, for arguments of its own.

        Args:
            name: what is typed.
            action: what is run.
            summary: one line for ``recsys --help``.
            detail: what ``recsys NAME --help`` says beside it.
        """
        parser = self._commands.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{detail}".strip(),
            parents=[self._common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(action=action)
        return parser

    def group(self, name: str, summary: str) -> Commands:
        """Add a word below which further commands are: ``recsys NAME COMMAND``."""
        return Commands(self._commands.add_parser(name, help=summary, description=summary))


def execute(arguments: argparse.Namespace) -> int:
    """Run a parsed command, print its answer and return the exit code."""
    codes: list[int] = []

    def run() -> None:
        answer = arguments.action(Scope(arguments))
        if arguments.json:
            print(json.dumps(answer.document, indent=2, ensure_ascii=False, allow_nan=False))
        else:
            show(answer.parts, sys.stdout)
        codes.append(answer.code)

    return exit_code(run) or codes[0]


def positive(text: str) -> int:
    """Parse a whole number of 1 or more, as an argument's ``type``."""
    if not text.isdecimal() or int(text) < 1:
        message = f"expected a whole number of 1 or more, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _configured() -> list[str]:
    return sorted(config.load(str(file)).name for file in environment.recommender_files())


def common_options(*, suppress: bool) -> argparse.ArgumentParser:
    """Return the options that are understood before the command and after it.

    After it they have no default, which would overwrite what was said before it.
    """

    def default(value: Any) -> Any:  # noqa: ANN401 - whatever the option holds
        return argparse.SUPPRESS if suppress else value

    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--environment",
        default=default(None),
        metavar="NAME",
        help=f"file of include/config/environments (default: {environment.ENVIRONMENT_VARIABLE}, "
        "or local)",
    )
    parser.add_argument(
        "--recommender",
        default=default(os.environ.get(RECOMMENDER_VARIABLE)),
        metavar="NAME",
        help=f"which one (default: {RECOMMENDER_VARIABLE}, or the only one that is configured)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=default(False),
        help="print one JSON document, for programs",
    )
    return parser

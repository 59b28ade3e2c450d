"""Give every job one skeleton: the same arguments, log lines, exit codes and last words.

Exit codes: 0 done; 1 unexpected (a traceback precedes the last line); 2 bad arguments
(argparse's own); 3 an error with a name and a remedy; 4 another writer was first.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from recommender import config
from recommender.config import Recommender
from recommender.errors import ConflictError, RecommenderError

EXIT_UNEXPECTED = 1
EXIT_NAMED = 3
EXIT_CONFLICT = 4

Job = Callable[[argparse.Namespace, Recommender], None]


def arg_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every job takes."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        required=True,
        type=location,
        metavar="URI",
        help="the recommender's YAML (s3:// or a path)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting of the YAML; the value is YAML; repeatable",
    )
    return parser


def location(text: str) -> str:
    """Return a URI in the one spelling that ``storage`` lists files by (an argparse type).

    ``s3a://`` and ``s3n://`` become ``s3://``, ``file://`` and ``./`` a plain path; a slash at
    the end is dropped.
    """
    if not text.strip():
        message = "expected s3://bucket/prefix or a local path, found nothing"
        raise argparse.ArgumentTypeError(message)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return str(Path(text))
    if scheme == "file":
        return str(Path(rest))
    if scheme not in {"s3", "s3a", "s3n"}:
        message = f"expected s3://bucket/prefix or a local path, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return f"s3://{rest.rstrip('/')}"


def run(job: Job, parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, load the configuration, run the job and return the exit code.

    Arguments and configuration are checked here, before a job can start Spark. Whatever goes
    wrong, the last line on stderr is ``error: <what was expected, found, and the remedy>``.

    Args:
        job: what to run with the parsed arguments and the configuration.
        parser: from ``arg_parser``, with the job's own arguments added.
        argv: arguments without the program's name; None takes ``sys.argv``.

    Raises:
        SystemExit: the arguments are wrong (code 2) or ``--help`` was asked for (code 0).
    """
    arguments = parser.parse_args(argv)
    _configure_logging()
    return exit_code(lambda: job(arguments, config.load(arguments.config, arguments.overrides)))


def exit_code(action: Callable[[], None]) -> int:
    """Run an action and return the exit code; of an error the last line on stderr speaks."""
    try:
        action()
    except ConflictError as error:
        _last_words(str(error))
        return EXIT_CONFLICT
    except RecommenderError as error:
        _last_words(str(error))
        return EXIT_NAMED
    except Exception as error:  # noqa: BLE001 - the boundary: nothing above would report it
        traceback.print_exc()
        summary = (str(error).strip().splitlines() or [""])[0]
        _last_words(f"unexpected {type(error).__name__}: {summary} (the traceback is above)")
        return EXIT_UNEXPECTED
    return 0


def _configure_logging() -> None:
    """Send the product's log lines to stderr with UTC times.

    Only the product's logger gets a handler: botocore and py4j at INFO would drown the counts.
    """
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03d"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    product = logging.getLogger("recommender")
    product.handlers[:] = [handler]
    product.setLevel(logging.INFO)


def _last_words(message: str) -> None:
    """Print the error as one line: EMR and Airflow show the last line of stderr."""
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"error: {line}", file=sys.stderr, flush=True)

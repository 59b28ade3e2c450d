"""Make a version again from its manifest: ``recsys reproduce``."""

from __future__ import annotations

from recommender.cli.command import Answer, Commands, Scope
from recommender.lineage import reproduction
from recommender.registry import catalogue

_DIFFERENT = 3


def register(commands: Commands) -> None:
    """Add the command of this group."""
    parser = commands.add(
        "reproduce",
        reproduce,
        "Train and measure a version again from its manifest, and compare.",
        "Says bit-equal, metric-equal or different (exit code 3). Needs the dataset that the\n"
        "version was trained on, and this machine for as long as its last fits took.",
    )
    parser.add_argument("version", metavar="VERSION", help="as `recsys list` shows it")
    parser.add_argument(
        "--output", required=True, metavar="URI", help="where to write (s3:// or a directory)"
    )
    parser.add_argument(
        "--dataset", metavar="URI", help="the dataset, if it is no longer where it was"
    )
    parser.add_argument(
        "--tolerance",
        type=reproduction.tolerance,
        metavar="SHARE",
        default=reproduction.TOLERANCE,
        help="largest relative difference of a metric that is still equal (default: %(default)s)",
    )


def reproduce(scope: Scope) -> Answer:
    """Make the version again and say how it compares."""
    from recommender.jobs import reproduce as job  # here: no other command needs numpy and implicit

    asked = scope.arguments
    version = catalogue.known_version(scope.locations, scope.recommender, asked.version)
    found = job.reproduce(version.uri, asked.output, asked.dataset, asked.tolerance)
    code = _DIFFERENT if found.answer == "different" else 0
    return Answer(found.to_json(), tuple(found.lines()), code)

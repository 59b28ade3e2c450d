"""Commands that look at versions: ``list`` and ``show``."""

from __future__ import annotations

from typing import Any

from recommender import registry
from recommender.cli.command import Answer, Commands, Scope
from recommender.cli.output import Table
from recommender.gate import CANDIDATE
from recommender.registry import catalogue
from recommender.registry.catalogue import Version


def register(commands: Commands) -> None:
    """Add the commands of this group."""
    commands.add("list", list_versions, "List the published versions, the champion marked.")
    show = commands.add(
        "show", show_version, "Say what one version is: data, metrics, files, lineage."
    )
    show.add_argument("version", metavar="VERSION", help="as `recsys list` shows it")


def list_versions(scope: Scope) -> Answer:
    """List every version, unfinished ones included."""
    found = catalogue.versions(scope.locations, scope.recommender)
    pointer = registry.read_champion(scope.locations, scope.recommender)
    champion = pointer[0].version if pointer else None
    rows = [_row(version, champion) for version in found]
    if not rows:
        return Answer([], (scope.nothing(f"no version of {scope.recommender} has been published"),))
    shown = Table(list(rows[0]), [list(row.values()) for row in rows])
    return Answer(rows, (shown,))


def show_version(scope: Scope) -> Answer:
    """Say everything that a version's manifest says."""
    version = catalogue.known_version(scope.locations, scope.recommender, scope.arguments.version)
    about = version.about
    metrics = about.get("metrics", {})
    names = sorted({n for values in metrics.values() for n, v in values.items() if _is_number(v)})
    facts = [
        (key, str(value)) for key, value in about.items() if not isinstance(value, dict | list)
    ]
    files = version.manifest.files.items() if version.manifest else ()
    document = {"version": version.name, "uri": version.uri, "about": about}
    document["files"] = {name: {"size": f.size, "sha256": f.sha256} for name, f in files}
    return Answer(
        document,
        (
            f"{version.name} at {version.uri}",
            Table(("fact", "value"), facts),
            Table(("model", *names), [(m, *(v.get(n) for n in names)) for m, v in metrics.items()]),
            Table(("file", "bytes", "sha256"), [(n, f.size, f.sha256) for n, f in files]),
        ),
    )


def _row(version: Version, champion: str | None) -> dict[str, Any]:
    about = version.about
    recall = about.get("metrics", {}).get(CANDIDATE, {}).get("recall")
    state = "champion" if version.name == champion else version.problem or about.get("verdict")
    return {
        "version": version.name,
        "state": state,
        "snapshot": about.get("snapshot"),
        "recall": recall,
        "bytes": version.size,
        "run": about.get("run_key"),
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

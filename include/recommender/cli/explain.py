"""Commands that explain: ``why`` a version or a run got its verdict, and ``diff`` of two versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recommender import storage
from recommender.cli.command import Answer, Commands, Scope, positive
from recommender.cli.output import Table
from recommender.errors import NotFoundError
from recommender.gate import ChampionRef, Decision
from recommender.locations import join, run_key
from recommender.registry import catalogue, comparison, pointer, tombstones
from recommender.registry.versions import DECISION


def register(commands: Commands) -> None:
    """Add the commands of this group."""
    why = commands.add(
        "why",
        explain,
        "Say in words why a version or a run got its verdict, and what became of it.",
    )
    why.add_argument(
        "subject", metavar="VERSION|RUN", help="a version, a run's key, or Airflow's run id"
    )
    diff = commands.add(
        "diff",
        compare,
        "Compare two versions: settings, data, metrics, and what users would see.",
        "Metrics of different snapshots are measured on different users and days: their difference\n"
        "says little. The overlap is over users that both versions know.",
    )
    diff.add_argument("first", metavar="A")
    diff.add_argument("second", metavar="B")
    diff.add_argument(
        "--k", type=positive, default=20, help="length of the lists (default: %(default)s)"
    )
    diff.add_argument(
        "--users",
        type=positive,
        default=1000,
        help="how many users to compare (default: %(default)s)",
    )


@dataclass(frozen=True)
class _Subject:
    decision: Decision
    version: str | None


def explain(scope: Scope) -> Answer:
    """Tell the decision on a version or a run, and every record of the pointer about it."""
    found = _find(scope, scope.arguments.subject)
    decision, attempt = found.decision, found.decision.attempt
    records = pointer.history(scope.locations, scope.recommender)
    events = _events(records, found.version, attempt.run_key)
    rules = [
        (r.name, "pass" if r.passed else "FAIL" if r.quality else "hold", r.sentence)
        for r in decision.rules
    ]
    parts = (
        f"{decision.verdict}: {decision.reason}",
        f"run {attempt.run_key}, snapshot {attempt.snapshot}, decided at {attempt.decided_at:%Y-%m-%d %H:%M} UTC",
        f"version {found.version or 'none'}",
        Table(("rule", "result", "in words"), rules),
        Table(("record", "at", "what became of it", "by", "reason"), events, title="")
        if events
        else "it was never champion",
    )
    document = {
        "version": found.version,
        "decision": decision.to_json(),
        "records": [
            dict(zip(("record", "at", "event", "by", "reason"), e, strict=True)) for e in events
        ],
    }
    return Answer(document, parts)


def compare(scope: Scope) -> Answer:
    """Compare two versions."""
    asked = scope.arguments
    first, second = (
        catalogue.known_version(scope.locations, scope.recommender, name)
        for name in (asked.first, asked.second)
    )
    differences = comparison.differences(first.about, second.about)
    metrics = comparison.metrics(first.about, second.about)
    overlap = comparison.overlap(
        scope.locations,
        scope.recommender,
        (asked.first, asked.second),
        k=asked.k,
        users=asked.users,
    )
    document = {
        "versions": [first.name, second.name],
        "facts": {key: list(values) for key, values in differences.items()},
        "metrics": [{"model": m, "metric": n, "a": a, "b": b} for m, n, a, b in metrics],
        "lists": overlap,
    }
    changed = [(m, n, a, b, _difference(a, b)) for m, n, a, b in metrics]
    return Answer(
        document,
        (
            f"A is {first.name}, B is {second.name}",
            Table(("fact", "A", "B"), [(k, *values) for k, values in differences.items()])
            if differences
            else "settings, data and code are the same",
            Table(("model", "metric", "A", "B", "B - A"), changed),
            Table(("what users would see", "value"), list(overlap.items())),
        ),
    )


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else second - first


def _find(scope: Scope, subject: str) -> _Subject:
    """Find the decision by version, by run key, or by Airflow's run id.

    Raises:
        NotFoundError: it is none of them.
    """
    place, name = scope.locations, scope.recommender
    about = catalogue.version(place, name, subject).about
    if not about and (stone := tombstones.read(place, name, subject)):
        about = (stone["manifest"] or {}).get("about", {})
    key = about.get("run_key")
    for candidate in [key] if key else [subject, run_key(subject)]:
        decision = catalogue.decision_of(place, name, candidate)
        if decision:
            return _Subject(decision, subject if key else _version_of(scope, candidate))
    if key:  # its record under decisions/ is gone: the version has a copy
        document = storage.read_json(join(place.version(name, subject), DECISION))
        return _Subject(Decision.from_json(document), subject)
    message = (
        f"expected a version, a run key or a run id of {name}, found {subject!r}: nothing was decided "
        "under that name. `recsys history` lists the runs, `recsys list` the versions."
    )
    raise NotFoundError(message)


def _version_of(scope: Scope, key: str) -> str | None:
    found = catalogue.versions(scope.locations, scope.recommender)
    return next((v.name for v in found if v.about.get("run_key") == key), None)


def _events(records: list[ChampionRef], version: str | None, key: str) -> list[tuple[Any, ...]]:
    """Return what the pointer's history says about a version."""
    events: list[tuple[Any, ...]] = []
    holder: str | None = None
    for record in records:
        change = record.change
        event = None
        if record.run_key == key and record.version == version and holder != version:
            event = {"rollback": "champion again, by a rollback", "manual": "promoted by hand"}.get(
                change.action if change else "", "promoted by the gate"
            )
        elif holder == version and version and record.version != version:
            rolled = change and change.action == "rollback"
            event = f"{'rolled back to' if rolled else 'replaced by'} {record.version}"
        elif change and change.action == "prune" and version in change.versions:
            event = "pruned"
        if event:
            by = (
                (change.at, event, change.by, change.reason)
                if change
                else (record.decided_at, event, "gate", None)
            )
            events.append((record.sequence, *by))
        holder = record.version
    return events

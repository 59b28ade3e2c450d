"""The command ``history``: quality over snapshots, from the decisions alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from recommender.cli.command import Answer, Commands, Scope
from recommender.cli.output import Table
from recommender.registry import catalogue, quality


def register(commands: Commands) -> None:
    """Add the command."""
    history = commands.add(
        "history",
        quality_over_snapshots,
        "Show quality over snapshots: what every decision measured, oldest snapshot first.",
        "Built from the decisions, so it holds refused runs too and is the same in whatever order\n"
        "a backfill ran. Each snapshot is measured on its own test window.",
    )
    history.add_argument(
        "--plot", metavar="FILE.svg", type=Path, help="draw it into a file as well"
    )


def quality_over_snapshots(scope: Scope) -> Answer:
    """Tabulate the decisions, and draw them if that was asked for."""
    points = [quality.point(d) for d in catalogue.decisions(scope.locations, scope.recommender)]
    if not points:
        return Answer([], (scope.nothing(f"nothing has been decided on for {scope.recommender}"),))
    rows = [
        (
            p.snapshot,
            p.verdict,
            p.recall,
            p.baseline,
            p.baseline_recall,
            p.uplift,
            p.champion_recall,
            p.run,
        )
        for p in points
    ]
    columns = (
        "snapshot",
        "verdict",
        "recall",
        "strongest baseline",
        "its recall",
        "above it",
        "champion",
        "run",
    )
    document = [
        asdict(p) | {"snapshot": p.snapshot.isoformat(), "decided_at": p.decided_at.isoformat()}
        for p in points
    ]
    parts: list[Table | str] = [Table(columns, rows)]
    if scope.arguments.plot:
        quality.draw(points, scope.recommender, scope.arguments.plot)
        parts.append(f"drawn into {scope.arguments.plot}")
    return Answer(document, tuple(parts))

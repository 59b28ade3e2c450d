"""Follow a recommender's quality over its snapshots, from the recorded decisions alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recommender.errors import ConfigError
from recommender.gate import CANDIDATE, Decision

_CHAMPION = "champion"


@dataclass(frozen=True)
class Point:
    """State what one decision measured.

    Attributes:
        snapshot: date of the data.
        run: key of the run.
        verdict: the gate's.
        decided_at: when.
        k: length of the lists.
        recall: the candidate's Recall@K; None, like all numbers, when the report was malformed.
        baseline: the strongest baseline that the policy names.
        baseline_recall: its Recall@K.
        uplift: recall / baseline_recall - 1; None over a baseline of 0.
        gain_low: lower end of the interval of recall - baseline_recall.
        gain_high: upper end.
        champion_recall: Recall@K of the champion of that day on the same rows, if there was one.
    """

    snapshot: dt.date
    run: str
    verdict: str
    decided_at: dt.datetime
    k: int
    recall: float | None = None
    baseline: str | None = None
    baseline_recall: float | None = None
    uplift: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    champion_recall: float | None = None


def point(decision: Decision) -> Point:
    """Reduce a decision to what is followed over time."""
    attempt, evidence = decision.attempt, decision.evidence
    names = (attempt.snapshot, attempt.run_key, decision.verdict, attempt.decided_at, attempt.k)
    if evidence is None:
        return Point(*names)
    strongest = max(decision.policy.baselines, key=lambda name: evidence.recall[name])
    recall, theirs = evidence.recall[CANDIDATE], evidence.recall[strongest]
    gain = evidence.gains[strongest]
    return Point(
        *names,
        recall=recall,
        baseline=strongest,
        baseline_recall=theirs,
        uplift=recall / theirs - 1 if theirs else None,
        gain_low=gain.ci_low,
        gain_high=gain.ci_high,
        champion_recall=evidence.recall.get(_CHAMPION),
    )


def latest_of_each_snapshot(points: Sequence[Point]) -> list[Point]:
    """Return one measured point a snapshot, the last decided; in order of snapshot."""
    measured = [p for p in points if p.recall is not None]
    by_snapshot = {p.snapshot: p for p in sorted(measured, key=lambda p: (p.decided_at, p.run))}
    return [by_snapshot[day] for day in sorted(by_snapshot)]


def draw(points: Sequence[Point], title: str, path: Path) -> None:
    """Draw Recall@K of the candidate and its strongest baseline over the snapshots.

    The bar beneath each candidate's point spans what the gate was sure of: the baseline plus the
    interval of the gain. The file's suffix decides the format (svg, png, pdf).

    Raises:
        ConfigError: no decision holds numbers, or the suffix is none that matplotlib knows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy: only where it is used
    from matplotlib.figure import Figure

    shown = latest_of_each_snapshot(points)
    if not shown:
        message = f"expected a decision with numbers to draw {path}, found none"
        raise ConfigError(message)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if path.suffix.lstrip(".").lower() not in canvas.get_supported_filetypes():
        message = f"expected a file name that ends in .svg, .png or .pdf, found {path}"
        raise ConfigError(message)
    axes = figure.add_subplot()
    days = [float(p.snapshot.toordinal()) for p in shown]
    recalls = [p.recall or 0.0 for p in shown]
    theirs = [p.baseline_recall or 0.0 for p in shown]
    low = [base + (p.gain_low or 0.0) for base, p in zip(theirs, shown, strict=True)]
    high = [base + (p.gain_high or 0.0) for base, p in zip(theirs, shown, strict=True)]
    # Colours of Okabe and Ito, and a marker each: told apart without colour and in print.
    axes.vlines(days, low, high, colors="#0072B2", linewidth=5, alpha=0.25)
    axes.plot(days, recalls, "o-", color="#0072B2", label="candidate (ALS)")
    axes.plot(days, theirs, "s--", color="#D55E00", label="strongest baseline")
    for verdict, marker in (("refused", "x"), ("registered", "|")):
        places = [n for n, p in enumerate(shown) if p.verdict == verdict]
        if places:
            some = [[values[n] for n in places] for values in (days, recalls)]
            axes.plot(*some, marker, color="black", markersize=12, label=verdict)
    axes.set(
        title=f"{title}: quality over snapshots", ylabel=f"Recall@{shown[-1].k}", ylim=(0, None)
    )
    axes.set_xticks(days, [p.snapshot.isoformat() for p in shown], rotation=30, ha="right")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)

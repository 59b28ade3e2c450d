"""Plot the numbers of a report; a table with the same numbers stands beside every plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from recommender.gate import CANDIDATE
from recommender.reporting.style import Look, figure, styled, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[float, float]
Looks = Mapping[str, Look]
"""How every model of the report is drawn: the same in all plots of a page."""


@styled
def leaderboard(k: int, models: Sequence[tuple[str, float, Interval]], look: Looks) -> str:
    """Plot Recall@K of each model with its interval, the best on top."""
    drawn, (axes,) = figure(0.75 + 0.33 * len(models))
    for row, (name, recall, (low, high)) in enumerate(reversed(models)):
        one = look[name]
        axes.plot([low, high], [row, row], color=one.color, linewidth=2, solid_capstyle="butt")
        axes.plot(recall, row, marker=one.marker, color=one.color, markersize=7)
        weight = "bold" if name == CANDIDATE else "normal"
        axes.annotate(
            f"{recall:.4f}", (high, row), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=8.5, fontweight=weight,
        )  # fmt: skip
    axes.set_yticks(range(len(models)), [name for name, _, _ in reversed(models)])
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.margins(x=0.12)
    axes.set_xlabel(f"Recall@{k}, with its bootstrap interval over users")
    axes.grid(axis="x")
    best = models[0]
    alt = f"Recall@{k} of {len(models)} models; the best is {best[0]} with {best[1]:.4f}."
    return to_svg(drawn, "leaderboard", alt)


@styled
def curves(
    ks: Sequence[int],
    recall: Mapping[str, Sequence[float]],
    ndcg: Mapping[str, Sequence[float]],
    look: Looks,
) -> str:
    """Plot recall and NDCG over the length of the list, a line a model."""
    panels = {"Recall@K": recall, "NDCG@K": ndcg}
    drawn, axes = figure(2.9, len(panels))
    for one, (title, values) in zip(axes, panels.items(), strict=True):
        for name, line in values.items():
            one.plot(
                ks, line, label=name, color=look[name].color, marker=look[name].marker,
                linestyle=look[name].line, markersize=4.5, linewidth=1.5,
                zorder=3 if name == CANDIDATE else 2,
            )  # fmt: skip
        _log_axis(one, ks)
        one.set_title(title)
        one.set_xlabel("length of the list K")
    drawn.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(recall))
    )
    alt = f"Recall and NDCG at K from {ks[0]} to {ks[-1]} for {', '.join(recall)}."
    return to_svg(drawn, "curves", alt)


def _log_axis(axes: Axes, ks: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.xaxis.set_minor_locator(NullLocator())
    _from_zero(axes)
    axes.grid(axis="y")


def _from_zero(axes: Axes) -> None:
    """Begin the axis at zero, and leave room above the highest marker."""
    axes.set_ylim(0, max(axes.dataLim.y1, 1e-9) * 1.1)


@styled
def training(
    curve: Sequence[tuple[int, float]], trials: Sequence[float], loss: Sequence[float]
) -> str:
    """Plot validation recall (and the loss) over iterations, and what every trial reached."""
    from matplotlib.ticker import MaxNLocator

    panels = [bool(curve), bool(loss), bool(trials)]
    drawn, axes = figure(2.4, sum(panels))
    left = iter(axes)
    if curve:
        one = next(left)
        one.plot([i for i, _ in curve], [r for _, r in curve], marker="o", color="#0072B2")
        top = max(curve, key=lambda pair: pair[1])
        one.annotate(
            f"best {top[1]:.4f}", top, xytext=(0, 6), textcoords="offset points", ha="center",
            fontsize=8,
        )  # fmt: skip
        one.margins(y=0.18)
        one.set_title("validation recall")
        one.set_xlabel("iteration")
    if loss:
        one = next(left)
        one.plot(range(1, len(loss) + 1), loss, marker="s", linestyle="--", color="#D55E00")
        one.set_title("training loss")
        one.set_xlabel("iteration")
    if trials:
        one = next(left)
        best = [max(trials[: number + 1]) for number in range(len(trials))]
        numbers = range(1, len(trials) + 1)
        one.scatter(numbers, trials, marker="^", color="#009E73", zorder=3)
        one.step(numbers, best, where="post", color="#333333")
        one.set_title("each trial, and the best so far")
        one.set_xlabel("trial")
    for one in axes:
        one.grid(axis="y")
        one.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    parts = [f"validation recall over {len(curve)} checkpoints"] if curve else []
    parts += [f"training loss over {len(loss)} iterations"] if loss else []
    parts += [f"what {len(trials)} trials reached"] if trials else []
    return to_svg(drawn, "training", f"{'; '.join(parts)}.".capitalize())


@styled
def groups(panels: Mapping[str, Mapping[str, Mapping[str, float]]], look: Looks) -> str:
    """Plot recall by group, a panel for users and one for items: panel -> group -> model -> recall."""
    drawn, axes = figure(2.6, len(panels))
    models = list(next(iter(next(iter(panels.values())).values())))
    for one, (title, parts) in zip(axes, panels.items(), strict=True):
        for number, model in enumerate(models):
            shift = (number - (len(models) - 1) / 2) * 0.12
            one.plot(
                [place + shift for place in range(len(parts))],
                [recall[model] for recall in parts.values()],
                linestyle="none", marker=look[model].marker, color=look[model].color,
                markersize=7, label=model, clip_on=False, zorder=3,
            )  # fmt: skip
        one.set_xticks(range(len(parts)), list(parts))
        one.set_xlim(-0.6, len(parts) - 0.4)
        _from_zero(one)
        one.set_title(title)
        one.grid(axis="y")
    drawn.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(models))
    )
    names = ", ".join(part for parts in panels.values() for part in parts)
    return to_svg(drawn, "groups", f"Recall of {', '.join(models)} for {names}.")


@styled
def calendar(
    first: str, rows: Sequence[int], earlier: Sequence[int], ends: Mapping[str, str]
) -> str:
    """Plot interactions a day, this time and last time, with the ends of the windows.

    Args:
        first: the first day, ISO 8601; both series begin there.
        rows: interactions a day.
        earlier: the same of the earlier snapshot; empty when there is none.
        ends: window -> its last day, ISO 8601.
    """
    import datetime as dt

    drawn, (axes,) = figure(2.2)
    start = dt.date.fromisoformat(first)
    days = [start + dt.timedelta(days=number) for number in range(len(rows))]
    axes.plot(days, _smooth(rows), color="#0072B2", label="this snapshot")  # type: ignore[arg-type]  # dates are fine
    if earlier:
        axes.plot(
            days[: len(earlier)], _smooth(earlier[: len(days)]), color="#D55E00",  # type: ignore[arg-type]
            linestyle="--", linewidth=1, label="the earlier one",
        )  # fmt: skip
        axes.legend(loc="lower left", ncols=2)
    for name, end in ends.items():
        day = dt.date.fromisoformat(end)
        axes.axvline(day, color="#767676", linewidth=0.8, linestyle=":")  # type: ignore[arg-type]
        axes.annotate(
            f"end of {name} ", (day, 1), xycoords=("data", "axes fraction"),
            ha="right", va="top", fontsize=7.5, rotation=90, color="#555555",
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rows a day, mean of 7 days")
    axes.grid(axis="y")
    return to_svg(drawn, "calendar", f"Interactions a day from {first} over {len(rows)} days.")


def _smooth(rows: Sequence[int], width: int = 7) -> list[float]:
    """Return trailing means: weekdays differ more than weeks do."""
    return [
        sum(rows[max(0, end - width) : end]) / min(width, end) for end in range(1, len(rows) + 1)
    ]

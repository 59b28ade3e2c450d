"""Draw every plot of the page in one style, as SVG that stands inside HTML.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), told apart by people with any common
colour blindness; every series has a marker and a line style of its own besides, for print in grey.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

from recommender.gate import CANDIDATE
from recommender.gate.policy import CHAMPION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.4  # inches; the page's column
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and is small
    "svg.hashsalt": "recsys",  # the same numbers give the same bytes
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#767676",
    "axes.labelcolor": "#333333",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Look:
    """Say how one model is drawn: never by colour alone."""

    color: str
    marker: str
    line: str


_CANDIDATE = Look("#0072B2", "o", "-")
_CHAMPION = Look("#D55E00", "s", "--")
_OTHERS = (
    Look("#009E73", "^", "-."),
    Look("#CC79A7", "D", ":"),
    Look("#E69F00", "v", (0, (5, 1, 1, 1))),  # type: ignore[arg-type]  # matplotlib's dash tuple
    Look("#56B4E9", "P", (0, (3, 1))),  # type: ignore[arg-type]
    Look("#000000", "X", (0, (1, 1))),  # type: ignore[arg-type]
    Look("#767676", "*", (0, (6, 2))),  # type: ignore[arg-type]
    Look("#7A5C00", "p", (0, (3, 1, 1, 1, 1, 1))),  # type: ignore[arg-type]
)


P = ParamSpec("P")


def styled(plot: Callable[P, str]) -> Callable[P, str]:
    """Run a plotting function under the page's settings; matplotlib's own stay as they are."""

    @functools.wraps(plot)
    def draw(*args: P.args, **kwargs: P.kwargs) -> str:
        import matplotlib as mpl

        with mpl.rc_context(_SETTINGS):
            return plot(*args, **kwargs)

    return draw


def looks(models: Sequence[str]) -> dict[str, Look]:
    """Give every model its look: the candidate and the champion always the same one."""
    fixed = {CANDIDATE: _CANDIDATE, CHAMPION: _CHAMPION}
    others = [name for name in models if name not in fixed]
    chosen = {name: _OTHERS[number % len(_OTHERS)] for number, name in enumerate(others)}
    return {name: fixed.get(name) or chosen[name] for name in models}


def figure(height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of the page's width with panels side by side."""
    from matplotlib.figure import Figure  # not pyplot: it keeps state and looks for a screen

    drawn = Figure(figsize=(WIDTH, height), layout="constrained")
    return drawn, list(drawn.subplots(1, panels, squeeze=False)[0])


def to_svg(drawn: Figure, name: str, alt: str) -> str:
    """Return a figure as an SVG element with a text alternative.

    Args:
        drawn: the figure.
        name: unique on the page: the ids inside begin with it.
        alt: what the plot shows, for who cannot see it.
    """
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = _attribute(alt)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}" class="plot"', 1)


def _attribute(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    )

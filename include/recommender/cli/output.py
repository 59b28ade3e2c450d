"""Show text and tables to a person: in colour on a terminal, plain and never cut in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

_NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """Hold rows under named columns; numbers are aligned to the right.

    Attributes:
        columns: headings.
        rows: one value a column; None is shown as ``-``, a float with four significant digits.
        title: shown above; empty for none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""


Part = str | Table


def show(parts: Iterable[Part], stream: TextIO) -> None:
    """Write lines and tables, an empty line around each table."""
    from rich.console import Console  # here: a quarter of a second that --json does not need

    on_terminal = stream.isatty()
    # In a pipe no line is wrapped or cut: grep and cut see whole rows.
    width = None if on_terminal else 10_000
    console = Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
    for number, part in enumerate(parts):
        if isinstance(part, str):
            console.print(printable(part), soft_wrap=True)
            continue
        if number:
            console.print()
        with console.capture() as captured:
            console.print(_rich(part))
        for line in captured.get().splitlines():
            stream.write(line.rstrip() + "\n")


def _rich(table: Table) -> object:
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(table.title) if table.title else None,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for place, name in enumerate(table.columns):
        values = [row[place] for row in table.rows if row[place] is not None]
        numbers = bool(values) and all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in values
        )
        drawn.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell(value)) for value in row))
    return drawn


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def printable(text: str) -> str:
    """Write control characters as escapes: an id or a title may not move the cursor."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )

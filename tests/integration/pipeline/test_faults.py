"""Every fault at every moment of a run: no cluster is forgotten, no failure is mute.

A few cells are played in the normal suite; ``make test-faults`` plays all and prints the table that
``docs/faults.md`` holds.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fault_cells
import fault_kills
import fault_theatre
import pytest
from fault_cells import BETWEEN, WAIT, Cell
from fault_play import Ended, Play
from fault_theatre import ORDINARY, Theatre

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.localaws,
    pytest.mark.spark,
    pytest.mark.timeout(7200),  # the first test plays the cells of all
]

KILLED = ("scheduler", "triggerer")  # one loss meets four runs, see `play_loss`
LOSSES = {part: fault_kills.part_lost(part) for part in KILLED}
CELLS = [
    *fault_cells.cells(),
    *map(fault_kills.worker_lost, fault_cells.MOMENTS),
    *fault_kills.people(),
    *(cell for cells in LOSSES.values() for cell in cells),
]
# A budget that ends a stage, a worker's death, a clear and a run failed by hand.
SHORT = {
    ("Spot loss beyond the budget", WAIT),
    ("kill -9 of the worker", BETWEEN),
    ("clear", WAIT),
    ("mark the run failed", WAIT),
}
Result = tuple[Ended, dict[str, int]]  # how it ended, and how often each fault struck


def params() -> list[Any]:
    def marks(cell: Cell) -> list[pytest.MarkDecorator]:
        return [] if (cell.fault, cell.moment) in SHORT else [pytest.mark.faults]

    return [pytest.param(cell, id=cell.name, marks=marks(cell)) for cell in CELLS]


def play(theatre: Theatre, lane: str, cell: Cell) -> Result:
    act = Play(theatre, lane)
    act.start()
    try:
        cell.script(act)
        ended = act.finish()
    except BaseException:
        act.mark_run("failed")  # the lane's next run waits for the end of this one
        raise
    finally:
        act.release()
    return ended, act.strikes


Played = dict[str, Result | Exception]


def play_all(theatre: Theatre, cells: list[Cell], tell: Callable[[Played], None]) -> None:
    """Play the cells, each lane one after the other and all lanes beside each other."""
    waiting: dict[str, queue.SimpleQueue[Cell]] = {
        name: queue.SimpleQueue() for name in ("", fault_theatre.IMPATIENT, fault_theatre.POOR)
    }
    for cell in cells:
        waiting[cell.lane].put(cell)

    def work(lane: str) -> None:
        mine = waiting["" if lane in ORDINARY else lane]
        while not mine.empty():
            try:
                cell = mine.get_nowait()
            except queue.Empty:
                return
            try:
                tell({cell.name: play(theatre, lane, cell)})
            except Exception as error:  # noqa: BLE001 - the cell's own test fails by it
                tell({cell.name: error})

    with ThreadPoolExecutor(len(fault_theatre.LANES)) as pool:
        list(pool.map(work, fault_theatre.LANES))


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, root: Path
) -> Played:
    """Play all cells that were selected, before the first test looks at its own."""
    wanted = [
        item.callspec.params["cell"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    losses = {part for part, cells in LOSSES.items() if any(cell in wanted for cell in cells)}
    alone = {cell.name for cells in LOSSES.values() for cell in cells}
    played: Played = {}

    def tell(more: Played) -> None:
        played.update(more)
        if target := request.config.getoption("--fault-table"):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_text(table(wanted, dict(played)))

    with fault_theatre.opened(tmp_path_factory.mktemp("faults"), root) as theatre:
        for part in KILLED:
            if part in losses:
                tell(lose(theatre, part))
        play_all(theatre, [cell for cell in reversed(wanted) if cell.name not in alone], tell)
    return played


def lose(theatre: Theatre, part: str) -> Played:
    cells = {cell.moment: cell.name for cell in LOSSES[part]}
    try:
        ends = fault_kills.play_loss(theatre, part)
    except Exception as error:  # noqa: BLE001 - all four tests fail by it
        return dict.fromkeys(cells.values(), error)
    return {cells[moment]: (ended, {}) for moment, ended in ends.items()}


def table(cells: list[Cell], results: Played) -> str:
    """Return the table as Markdown."""
    lines = [
        "| fault | moment | clusters | alive 2 min later | run | message |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        result = results.get(cell.name)
        if not isinstance(result, tuple):
            lines.append(f"| {cell.fault} | {cell.moment} | not shown: {result} | | | |")
            continue
        ended, struck = result
        told = "; ".join(ended.message(cause) or f"nothing of {cause}" for cause in cell.causes)
        times = sum(struck.get(name, 0) for name in cell.strikes)
        met = f"(absorbed: met {times} times)" if times else "(absorbed)"
        text = (told or met).replace("|", "/")[:180]
        clusters = ended.describe_clusters()
        lines.append(
            f"| {cell.fault} | {cell.moment} | {clusters} | {ended.alive} | {ended.run} | {text} |"
        )
    return "\n".join([*lines, ""])


Look = Callable[[Cell], Result]


@pytest.fixture
def look(results: Played) -> Look:
    def at(cell: Cell) -> Result:
        result = results[cell.name]
        if isinstance(result, Exception):
            raise result
        return result

    return at


@pytest.mark.parametrize("cell", params())
def test_a_fault_leaves_no_cluster_and_says_its_cause(cell: Cell, look: Look) -> None:
    ended, struck = look(cell)
    for name in cell.strikes:
        assert struck.get(name), f"{name} never struck: the cell shows nothing"
    assert ended.alive == 0, "a cluster lives two minutes after its run"
    assert len(set(ended.attempts)) == len(ended.attempts), "two clusters for one attempt"
    stages = tuple(attempt.split()[0] for attempt in ended.attempts)
    assert (ended.run, stages) == (cell.run, cell.clusters), ended.log[-4000:]
    for cause in cell.causes:
        assert ended.message(cause), f"nobody says {cause!r}:\n{ended.log[-4000:]}"

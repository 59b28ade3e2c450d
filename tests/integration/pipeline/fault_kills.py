"""kill -9 of Airflow's own parts, and what people do to a run, at each moment of the table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import psutil
from fault_cells import (
    AGAIN,
    BETWEEN,
    BOTH,
    BY_HAND,
    MOMENTS,
    ONE,
    SUBMIT,
    TEARDOWN,
    WAIT,
    WAIT_TASK,
    Cell,
    Stages,
)
from fault_play import PREPROCESS, Ended, Play, Script
from fault_theatre import ORDINARY, Theatre

# The task that is at work at each moment when a worker dies.
AT_WORK = dict(zip(MOMENTS, ("submit", "wait", "price", "terminate"), strict=True))
LANE_OF = dict(zip(MOMENTS, ORDINARY, strict=True))


def kill_worker(play: Play, task_id: str) -> None:
    """Kill a task's process and the executor's worker above it, as a lost machine would."""
    identity = play.task(task_id)["id"]
    scheduler = psutil.Process(play.theatre.stack.processes["scheduler"].pid)
    found = [one for one in scheduler.children(recursive=True) if identity in title(one)]
    assert len(found) == 2, f"expected worker and task of {task_id}, found {found}"
    for process in found:  # the title of either names the task
        process.kill()


def title(process: psutil.Process) -> str:
    """Return what a process calls itself; nothing if it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def worker_lost(moment: str) -> Cell:
    """Return the cell in which the worker dies while its call to EMR is held back."""

    def script(play: Play) -> None:
        if moment == SUBMIT:
            play.hold("held", "RunJobFlow", "after")
        elif moment == WAIT:
            play.hold("held", "ListSteps")
        elif moment == BETWEEN:
            play.hold("held", "ListInstances")
        else:
            hang(play)
            fail_by_hand(play)
            play.await_task(f"{PREPROCESS}.terminate", "running")
        play.await_strike("held")
        kill_worker(play, f"{PREPROCESS}.{AT_WORK[moment]}")
        play.release("held")

    run, clusters = ("failed", ONE) if moment == TEARDOWN else ("success", BOTH)
    return Cell("kill -9 of the worker", moment, script, run, clusters, told(moment), ("held",))


def told(moment: str) -> tuple[str, ...]:
    """Return what a retry or a lock says at a moment when a task was at work on a cluster."""
    adopted = r"cluster \S+ has ticket \S+ already: adopted"
    return {SUBMIT: (adopted,), TEARDOWN: (BY_HAND,)}.get(moment, ())


def hang(play: Play) -> None:
    """Bring a run to a cluster that never ends by itself, and is watched."""
    play.aim("hang", {"kind": "step_hang"})
    play.await_strike("hang")
    play.await_watch()


def fail_by_hand(play: Play) -> None:
    """Mark the wait as failed, and hold back what would terminate its cluster."""
    play.hold("held", "TerminateJobFlows")
    play.mark(WAIT_TASK, "failed")
    play.await_strike("held")


def part_lost(component: str) -> list[Cell]:
    """Return the four cells that ``play_loss`` plays at once: one loss meets four runs."""

    def cell(moment: str) -> Cell:
        run, clusters = ("failed", ONE) if moment == TEARDOWN else ("success", BOTH)
        name = f"kill -9 of the {component}"
        causes = told(moment) if component == "scheduler" or moment == TEARDOWN else ()
        return Cell(name, moment, lambda _: None, run, clusters, causes, strikes=())

    return [cell(moment) for moment in MOMENTS]


def bring(plays: Mapping[str, Play]) -> None:
    """Bring four runs to the four moments, all at the same time.

    Three can be kept where they are for as long as it takes; an answer of EMR only for less than a
    minute, or boto3 gives the call up. So the two that are held by one come last, side by side.
    """
    for moment in (WAIT, BETWEEN):
        plays[moment].hold_start()
    for moment in (WAIT, BETWEEN, TEARDOWN):
        plays[moment].start()
    hang(plays[TEARDOWN])
    for moment in (WAIT, BETWEEN):
        plays[moment].await_watch()
    plays[SUBMIT].hold("held", "RunJobFlow", "after")
    plays[SUBMIT].start()
    plays[SUBMIT].await_task("plan_preprocess", "success")
    plays[BETWEEN].hold("held", "ListInstances")
    plays[BETWEEN].release("start")
    plays[SUBMIT].await_strike("held")
    plays[BETWEEN].await_strike("held")
    fail_by_hand(plays[TEARDOWN])
    for moment, task_id in (SUBMIT, "submit"), (BETWEEN, "price"):
        state = plays[moment].task(f"{PREPROCESS}.{task_id}")["state"]
        assert state == "running", f"{task_id} is {state} by now: the machine is too slow for this"


def play_loss(theatre: Theatre, component: str) -> dict[str, Ended]:
    """Kill a part of Airflow while four runs are at four moments; return moment -> end."""
    plays = {moment: Play(theatre, LANE_OF[moment]) for moment in MOMENTS}
    try:
        bring(plays)
        theatre.stack.kill(component)
        theatre.stack.start(component)
        for moment, play in plays.items():
            play.release("start" if moment == WAIT else "held")
        return {moment: play.finish() for moment, play in plays.items()}
    finally:
        for play in plays.values():
            play.release()


def by_hand(play: Play, act: Script) -> None:
    play.hold_start()
    play.await_watch()
    act(play)


def people() -> list[Cell]:
    """Return what somebody does in the UI while the wait is deferred."""

    def cell(name: str, act: Script, run: str = "failed", clusters: Stages = ONE) -> Cell:
        return Cell(name, WAIT, partial(by_hand, act=act), run, clusters, (BY_HAND,), ("start",))

    return [
        cell("mark failed", lambda play: play.mark(WAIT_TASK, "failed")),
        cell("mark success", lambda play: play.mark(WAIT_TASK, "success")),
        cell("mark the run failed", lambda play: play.mark_run("failed")),
        cell("clear", lambda play: play.clear(WAIT_TASK), "success", AGAIN),
    ]

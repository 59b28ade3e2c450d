"""The table of faults: what goes wrong, at which moment, and how run and clusters have to end.

A cell's script brings its run to the moment and lets it go; ``fault_play`` waits for the end. Faults
are chosen so that each strikes at its moment for certain: answers are held back until it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from fault_play import PREPROCESS, Play, Rule, Script
from fault_theatre import IMPATIENT, POOR

SUBMIT, WAIT, BETWEEN, TEARDOWN = MOMENTS = (
    "before submit returns",
    "while waiting",
    "between stages",
    "during teardown",
)
# What a run lives through is met by one run at all three moments.
THROUGH = "before submit returns, while waiting, between stages"
WAIT_TASK = f"{PREPROCESS}.wait"


Stages = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        fault, moment: row and column.
        script: brings the run there; called after `Play.start`.
        run: how the run has to end.
        clusters: stages of all clusters that there have to be, the oldest first.
        causes: patterns that have to be in the tasks' logs; none where nothing is left to tell.
        strikes: names of the faults that must have struck, or the cell has shown nothing.
        lane: a lane that the cell needs; empty for any ordinary one.
    """

    fault: str
    moment: str
    script: Script
    run: str
    clusters: Stages
    causes: tuple[str, ...]
    strikes: tuple[str, ...] = ("fault",)
    lane: str = ""

    @property
    def name(self) -> str:
        return f"{self.fault}, {self.moment}"


BY_HAND = r"terminating (it|cluster|j-)"  # by the trigger or by the teardown, whichever comes first
ONE: Stages
BOTH: Stages
AGAIN: Stages
AGAIN_LATER: Stages
ONE, BOTH, AGAIN = (PREPROCESS,), (PREPROCESS, "train"), (PREPROCESS, PREPROCESS, "train")
AGAIN_LATER = (PREPROCESS, "train", "train")


@dataclass(frozen=True)
class ClusterFault:
    """A fault of a cluster itself; ``tries_again`` if another cluster may go better."""

    name: str
    rules: tuple[Rule, ...]
    cause: str
    tries_again: bool = False
    harmless: bool = False
    hangs: bool = False


CLUSTER_FAULTS = (
    ClusterFault("bootstrap fails", ({"kind": "bootstrap_failure"},), "class: bootstrap"),
    ClusterFault(
        "step exits with a code",
        ({"kind": "step_exit", "code": 1, "stderr": "error: 9 of 10 lines are bad\n"},),
        "class: bad data",
    ),
    ClusterFault("step hangs", ({"kind": "step_hang"},), "class: time-out", hangs=True),
    ClusterFault(
        "Spot loss", ({"kind": "spot_loss", "times": 1},), "class: spot loss", tries_again=True
    ),
    ClusterFault(
        "no capacity", ({"kind": "capacity", "times": 1},), "class: capacity", tries_again=True
    ),
    ClusterFault("slow start", ({"kind": "slow_start", "seconds": 600},), "", harmless=True),
    ClusterFault(
        "step fails, logs come late",
        ({"kind": "step_exit", "stderr": "error: nine bad lines\n"}, {"kind": "late_logs", "seconds": 3.0}),
        "nine bad lines",
    ),
)  # fmt: skip


def of_cluster(fault: ClusterFault) -> Iterator[Cell]:
    """Yield the four cells of a cluster's fault."""
    lane = IMPATIENT if fault.hangs else ""
    early, late = BOTH, BOTH
    if not fault.harmless:
        early, late = (AGAIN, AGAIN_LATER) if fault.tries_again else (ONE, BOTH)
    run = "success" if fault.harmless or fault.tries_again else "failed"
    cause = (fault.cause,) if fault.cause else ()
    answered, waited = partial(struck_before_the_answer, fault), partial(struck_in_the_wait, fault)
    between = partial(struck_in_the_next_stage, fault)
    yield Cell(fault.name, SUBMIT, answered, run, early, cause, lane=lane)
    yield Cell(fault.name, WAIT, waited, run, early, cause, lane=lane)
    yield Cell(fault.name, BETWEEN, between, run, late, cause, lane=lane)
    yield Cell(
        fault.name, TEARDOWN, partial(struck_in_the_teardown, fault), "failed", ONE, (BY_HAND,)
    )


def aim(fault: ClusterFault, play: Play, stage: str = PREPROCESS) -> None:
    for number, rule in enumerate(fault.rules):
        play.aim("fault" if number == 0 else f"fault {number + 1}", rule, stage)


def await_damage(fault: ClusterFault, play: Play) -> None:
    play.await_strike("fault")
    if not (fault.harmless or fault.hangs):
        play.await_end_of_cluster()


def struck_before_the_answer(fault: ClusterFault, play: Play) -> None:
    aim(fault, play)
    play.hold("answer", "RunJobFlow", "after")
    play.await_strike("answer")
    await_damage(fault, play)
    play.release("answer", *(["fault"] if fault.harmless else []))


def struck_in_the_wait(fault: ClusterFault, play: Play) -> None:
    aim(fault, play)
    if not fault.harmless:
        play.hold_start()
    play.await_watch()
    play.release("fault" if fault.harmless else "start")


def struck_in_the_next_stage(fault: ClusterFault, play: Play) -> None:
    aim(fault, play, "train")
    if fault.harmless:
        play.await_watch("train")
        play.release("fault")


def struck_in_the_teardown(fault: ClusterFault, play: Play) -> None:
    """Let the fault strike while the call that would end the cluster is held back."""
    aim(fault, play)
    if not fault.harmless:
        play.hold_start()
    play.await_watch()
    play.hold("terminate", "TerminateJobFlows")
    play.mark(WAIT_TASK, "failed")
    play.await_strike("terminate")
    if not fault.harmless:
        play.release("start")
    await_damage(fault, play)
    play.release("terminate")


@dataclass(frozen=True)
class ApiFault:
    """A fault of single calls to EMR: the rule without its operations, and what it makes tasks say."""

    name: str
    rule: Rule
    when: str = "after"
    causes: tuple[str, ...] = ()


LOST = "the answer to RunJobFlow was lost"
LOOK = r"look \d+ at j-\w+ failed"
API_FAULTS = (
    ApiFault("EMR throttles", {"kind": "throttle"}, "before", ("class: throttled", LOOK)),
    ApiFault("EMR answers 500", {"kind": "error"}, "after", (LOST, LOOK)),
    ApiFault("EMR cuts connections", {"kind": "reset"}, "after", (LOST, LOOK)),
    ApiFault("EMR answers late", {"kind": "delay", "seconds": 5.0}),
)


def of_api(fault: ApiFault) -> Iterator[Cell]:
    """Yield the cells of a fault of EMR's calls: one run through three moments, one teardown."""

    def aim(play: Play, name: str, *operations: str, **more: object) -> None:
        rule = {"when": fault.when, "times": 2, **fault.rule, "service": "emr"}
        play.aim(name, {**rule, "operations": operations, **more})

    def through(play: Play) -> None:
        # An answer is lost once: the call is not repeated.
        aim(play, SUBMIT, "RunJobFlow", times=1)
        aim(play, BETWEEN, "ListInstances", "ListInstanceFleets")
        play.hold_start()
        play.await_watch()  # a search after a lost answer describes clusters, too
        aim(play, WAIT, "DescribeCluster")
        play.await_strike(WAIT, 2)
        play.release("start")

    def during_teardown(play: Play) -> None:
        aim(play, TEARDOWN, "TerminateJobFlows", when="before", times=3)
        play.aim("hang", {"kind": "step_hang"})
        play.await_strike("hang")
        play.await_watch()
        play.mark(WAIT_TASK, "failed")

    met = (SUBMIT, WAIT, BETWEEN)
    yield Cell(fault.name, THROUGH, through, "success", BOTH, fault.causes, met)
    yield Cell(fault.name, TEARDOWN, during_teardown, "failed", ONE, (BY_HAND,), (TEARDOWN,))


S3_FAULTS: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("S3 answers 500 and 503", ({"kind": "error", "times": 2}, {"kind": "throttle", "times": 1})),
    ("S3 answers late", ({"kind": "delay", "seconds": 4.0, "times": 2},)),
    ("S3 cuts connections", ({"kind": "reset", "times": 3},)),
)


def of_s3(name: str, rules: tuple[Rule, ...]) -> Iterator[Cell]:
    """Yield the cells of a fault of S3: one run through three moments, one teardown.

    The submit reads nothing from S3, so what leads to it is struck; nor does the teardown, so the reading
    of a failed step's log is, which is the last that a run reads before it.
    """

    def aim(play: Play, moment: str, bucket: str, key: str, *operations: str) -> None:
        match = {"bucket": f"recsys-{bucket}", "key": key}
        for number, rule in enumerate(rules):
            more = {"service": "s3", "operations": operations or ("*",), "match": match}
            play.aim(moment if number == 0 else f"{moment} {number + 1}", {**rule, **more})

    def through(play: Play) -> None:
        aim(play, SUBMIT, "lake", f"snapshots/lane_{play.lane}")
        # The step's last upload and, after its end, the wait's look at it.
        aim(play, WAIT, "work", play.key("dataset/manifest.json"))
        aim(play, BETWEEN, "work", play.key("dataset/profile.json"), "GetObject")

    def during_teardown(play: Play) -> None:
        play.aim("exit", {"kind": "step_exit", "stderr": "error: 9 of 10 lines are bad\n"})
        play.hold("judge", "ListSteps")
        play.await_strike("judge")
        (cluster,) = play.clusters()
        aim(play, TEARDOWN, "work", f"emr-logs/{cluster['Id']}/steps", "GetObject")
        play.release("judge")

    yield Cell(name, THROUGH, through, "success", BOTH, (), (SUBMIT, WAIT, BETWEEN))
    cause = ("9 of 10 lines are bad",)
    yield Cell(name, TEARDOWN, during_teardown, "failed", ONE, cause, (TEARDOWN,))


def capacity_refused(play: Play) -> None:
    text = "The maximum number of active clusters has been reached"
    play.aim("fault", {"kind": "capacity_refused", "message": text, "times": 2})


def capacity_never(play: Play) -> None:
    play.aim("fault", {"kind": "capacity"})


def spot_loss(play: Play) -> None:
    play.aim("fault", {"kind": "spot_loss"})


BEYOND = "attempt 2 of 3 is not made: expected a run within budget_usd 0.021"
NONE = ("class: capacity",)
SINGLE = (
    Cell("EMR refuses for its quota", SUBMIT, capacity_refused, "success", BOTH, NONE),
    Cell("no capacity, ever", WAIT, capacity_never, "failed", ONE * 3, NONE),
    Cell("Spot loss beyond the budget", WAIT, spot_loss, "failed", ONE, (BEYOND,), lane=POOR),
)


def cells() -> list[Cell]:
    """Return every cell in which one run meets a fault of AWS."""
    makers: list[Iterator[Cell]] = [
        *map(of_cluster, CLUSTER_FAULTS),
        *map(of_api, API_FAULTS),
        *(of_s3(name, rules) for name, rules in S3_FAULTS),
    ]
    return [*(cell for maker in makers for cell in maker), *SINGLE]

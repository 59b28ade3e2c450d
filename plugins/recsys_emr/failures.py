"""Name the classes of failure, each with the next action of whoever meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

_SUMMARY_LENGTH = 600


class Kind(StrEnum):
    """Name a class of failure; each has one next action."""

    OUT_OF_MEMORY = "out of memory"
    OUT_OF_DISK = "out of disk"
    BAD_DATA = "bad data"
    BAD_CONFIGURATION = "bad configuration"
    NAMED_ERROR = "named error of the job"
    MISSING_DEPENDENCY = "missing dependency"
    PERMISSION = "permission"
    SPOT_LOSS = "spot loss"
    BOOTSTRAP = "bootstrap"
    CAPACITY = "capacity"
    TIME_OUT = "time-out"
    THROTTLED = "throttled"
    TERMINATED_BY_USER = "terminated by user"
    NO_OUTPUT = "no output"
    UNKNOWN = "unknown"


NEXT_ACTION: Mapping[Kind, str] = {
    Kind.OUT_OF_MEMORY: "give the shape larger instances or more `driver_memory` (where DuckDB ran "
    "out: larger instances only), then clear the stage; the same memory would run out again",
    Kind.OUT_OF_DISK: "raise `disk_gb` of the shape's fleets, or set preprocess.duckdb_up_to_lines to 0 "
    "if it was the primary's in preprocessing; then clear the stage",
    Kind.BAD_DATA: "repair the snapshot as the message says (the lines are in the run's "
    "quarantine/), or raise preprocess.bad_line_budget if they may be lost; then start a new run",
    Kind.BAD_CONFIGURATION: "correct the recommender's or the environment's YAML, or the Param, as "
    "the message says; then start a new run",
    Kind.NAMED_ERROR: "do what the message says; a retry would fail in the same way",
    Kind.MISSING_DEPENDENCY: "add the package to include/bootstrap/requirements.in (a library such "
    "as libgomp: to install.sh), rebuild the wheelhouse, then clear the stage",
    Kind.PERMISSION: "grant the refused action to the role that the message names (README, "
    "'Going to real AWS', lists what each role needs), then clear the stage",
    Kind.SPOT_LOSS: "nothing, while attempts are left: the next one buys on demand; if it keeps "
    "happening, replace `spot` by `on_demand` in the shape",
    Kind.BOOTSTRAP: "read the bootstrap action's log below node/<instance>/bootstrap-actions/; most "
    "often a wheel is missing in the wheelhouse or the instance profile may not read it",
    Kind.CAPACITY: "add instance types and subnets to the shape, or ask AWS for a higher quota if "
    "the message names one; then clear the stage",
    Kind.TIME_OUT: "look at the step's log for what took so long, then raise `minutes` of the shape "
    "or give it more capacity",
    Kind.THROTTLED: "clear the stage later; if it keeps happening, raise `poll_seconds` or ask AWS "
    "for a higher request quota",
    Kind.TERMINATED_BY_USER: "find out who terminated the cluster (CloudTrail: TerminateJobFlows), "
    "then clear the stage, its submit task included",
    Kind.NO_OUTPUT: "look at the last step's log: it ended with success without sealing its output",
    Kind.UNKNOWN: "read the step's stderr and stdout, which the task's log shows, and EMR's own "
    "controller log beside them",
}


@dataclass(frozen=True)
class Failure:
    """Say in one screen what happened, of what class it is and what to do.

    Attributes:
        kind: the class.
        summary: the most telling line, at most 600 characters.
        next_action: what a person, or the next attempt, should do.
    """

    kind: Kind
    summary: str
    next_action: str

    def __str__(self) -> str:
        return f"{self.summary}\n  class: {self.kind}\n  next: {self.next_action}"


def failure(kind: Kind, summary: str) -> Failure:
    """Return a failure of a class with that class's next action."""
    text = " ".join(summary.split())
    if len(text) > _SUMMARY_LENGTH:
        text = f"{text[: _SUMMARY_LENGTH - 3]}..."
    return Failure(kind, text, NEXT_ACTION[kind])

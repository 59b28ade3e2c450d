"""Tell what class of failure ended a cluster: pure functions.

The evidence is what EMR says of the cluster and its steps and what the driver printed. Patterns are
tried from the most telling to the least; a failure that none of them knows is UNKNOWN and says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recsys_emr.failures import Failure, Kind, failure
from recsys_emr.outcome import Outcome

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# Kind -> what its messages contain. The order of a table is the order of the search.
_Table = tuple[tuple[Kind, re.Pattern[str]], ...]


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_PERMISSION = _any(
    r"access ?denied", r"\bnot authorized\b", r"UnauthorizedOperation", r"\b403\b.*(forbidden|s3)",
    r"status code: 403", r"\bforbidden\b", r"KMS.*(AccessDenied|not allowed)",
)  # fmt: skip
_THROTTLED = _any(
    r"Throttling", r"ThrottledException", r"rate exceeded", r"request limit exceeded",
    r"RequestLimitExceeded", r"\bSlowDown\b", r"reduce your request rate", r"TooManyRequests",
)  # fmt: skip
_CAPACITY = _any(
    r"INSTANCE_FLEET_TIMEOUT", r"insufficient.{0,20}capacity", r"out of capacity",
    r"VcpuLimitExceeded", r"vCPU (capacity|limit)", r"InstanceLimitExceeded",
    r"MaxSpotInstanceCountExceeded", r"maximum number of active clusters",
    r"not supported in (your|the) requested Availability Zone", r"EC2 (provisioning|quota)",
)  # fmt: skip
_SPOT = _any(
    r"\bspot\b.*(interrupt|terminat|reclaim|loss|lost)", r"released on a \*lost\* node",
    r"(interrupted|terminated|reclaimed|lost).*\bspot\b", r"Server\.SpotInstanceTermination",
    r"node was lost", r"instances? .*(was|were) (terminated|lost)", r"ExecutorDecommission",
)  # fmt: skip
_MEMORY = _any(
    r"java\.lang\.OutOfMemoryError", r"Java heap space", r"GC overhead limit exceeded",
    r"killed by YARN for exceeding", r"running beyond (physical|virtual) memory", r"MemoryError",
    r"(exit(ed)? (with )?(code|status)|exitCode):? ?137\b", r"Killed by SIGKILL",
    r"cannot allocate memory", r"insufficient memory for the Java", r"OOM[- ]?kill",
    r"OutOfMemoryException", r"Out of Memory Error", r"Python worker exited unexpectedly",
)  # fmt: skip
_DISK = _any(r"No space left on device", r"failed to offload data block", r"\bENOSPC\b")
_DEPENDENCY = _any(
    r"ModuleNotFoundError", r"\bImportError\b", r"No module named",
    r"libgomp\S* ?: cannot open shared object", r"cannot open shared object file",
    r"ClassNotFoundException", r"NoClassDefFoundError",
)  # fmt: skip
_CONFIGURATION = _any(
    r"\bexit ?code:? 2\b", r"the following arguments are required", r"unrecognized arguments",
    r"is not a valid \w+ configuration", r"expected section\.key=value", r"invalid choice:",
    r"expected a recommender's configuration", r"is not YAML", r"expected a mapping of settings",
    r"as preprocess\.format says", r"inputs and outputs to lie apart", r"expected --lineage keys",
    r"usage: python -m recommender\.jobs", r"invalid \w+ value:",
)  # fmt: skip
_DATA = _any(
    r"bad_line_budget", r"lines are bad", r"found not one line", r"no line could be read",
    r"expected JSON lines", r"One snapshot, one format", r"other objects in", r"only empty files",
    r"window is empty", r"nothing is left of the", r"at least 2 users and 2 items",
    r"held-out item that is new", r"gzip", r"not finite", r"preprocess again", r"Parquet",
    r"snapshot has landed", r"unknown format", r"expected interactions",
)  # fmt: skip

# What surrounds a cluster, by StateChangeReason, its message and ErrorDetails.
_CLUSTER: _Table = (
    (Kind.THROTTLED, _THROTTLED),
    (Kind.CAPACITY, _CAPACITY),
    (Kind.SPOT_LOSS, _SPOT),
    (Kind.PERMISSION, _PERMISSION),
)
# What an error with a name says: S3's refusals are named errors too, and want another remedy.
_NAMED: _Table = (
    (Kind.PERMISSION, _PERMISSION),
    (Kind.THROTTLED, _THROTTLED),
    (Kind.BAD_CONFIGURATION, _CONFIGURATION),
    (Kind.BAD_DATA, _DATA),
)
# What a driver says without a name: first its last words, then all it printed, which holds warnings
# of no consequence too. So only what cannot be one is looked for in all it printed.
_LAST_WORDS: _Table = (
    (Kind.OUT_OF_DISK, _DISK),  # first: DuckDB calls a full disk out of memory
    (Kind.OUT_OF_MEMORY, _MEMORY),
    (Kind.MISSING_DEPENDENCY, _DEPENDENCY),
    (Kind.PERMISSION, _PERMISSION),
    (Kind.THROTTLED, _THROTTLED),
    (Kind.SPOT_LOSS, _SPOT),
    (Kind.BAD_CONFIGURATION, _CONFIGURATION),
)
_PRINTED: _Table = (
    (Kind.OUT_OF_DISK, _DISK),
    (Kind.OUT_OF_MEMORY, _MEMORY),
    (Kind.SPOT_LOSS, re.compile(r"ExecutorLostFailure.*released on a \*lost\* node")),
    (Kind.MISSING_DEPENDENCY, re.compile(r"^(ModuleNotFound|Import)Error: |^\S*libgomp\S*: ")),
    (Kind.PERMISSION, re.compile(r"^\S*(AccessDenied|AmazonS3)\S*Exception.*(403|Denied)")),
)
# The jobs' last words, and argparse's: "prog: error: ...".
_WORDS = re.compile(r"^(?:[\w./ -]+: )?error: (?P<text>.+)$")
_UNEXPECTED = "unexpected "
# log4j's lines and Java's stack: never the line that tells.
_CHATTER = re.compile(
    r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (TRACE|DEBUG|INFO|WARN) |^\s+at |^\s*\.\.\. \d+ more"
)


def classify(outcome: Outcome, stderr_tail: str, stdout_tail: str) -> Failure:
    """Return the class of a cluster's failure, its most telling line and the next action.

    Args:
        outcome: how the cluster ended, from ``judge``; it must not be a success.
        stderr_tail: end of what the failed step's JVM printed; empty if there is no log.
        stdout_tail: end of what its Python printed: in client mode spark-submit merges Python's
            stdout and stderr into its own stdout.
    """
    if outcome.broken:
        return _of_driver(outcome, stdout_tail, stderr_tail)
    return _of_cluster(outcome)


def classify_refusal(error: ClientError) -> Failure:
    """Return the class of an answer by which EMR refused a call."""
    code = error.response.get("Error", {}).get("Code", "")
    kind = _match(_CLUSTER, f"{code} {error}") or Kind.UNKNOWN
    if kind is Kind.UNKNOWN and code.startswith(("Validation", "InvalidRequest")):
        kind = Kind.BAD_CONFIGURATION
    return failure(kind, str(error))


def last_words(*texts: str) -> str:
    """Return the text of the last ``error: ...`` line of the first text that has one, or nothing."""
    for text in texts:
        for line in reversed(text.splitlines()):
            if match := _WORDS.match(line.strip()):
                return match["text"]
    return ""


def _of_cluster(outcome: Outcome) -> Failure:
    """Judge a cluster whose steps never failed by themselves: what surrounds them ended it."""
    said = outcome.message or f"EMR gives {outcome.code} as the reason and no message"
    if outcome.code == "BOOTSTRAP_FAILURE":
        return failure(Kind.BOOTSTRAP, said)
    if outcome.code == "USER_REQUEST":
        idle = "auto-terminat" in said.lower()
        return failure(Kind.TIME_OUT if idle else Kind.TERMINATED_BY_USER, said)
    if kind := _match(_CLUSTER, f"{outcome.code} {said}"):
        return failure(kind, said)
    by_code = {
        "INSTANCE_FAILURE": Kind.SPOT_LOSS,  # with primary and core on demand, a machine that died
        "VALIDATION_ERROR": Kind.BAD_CONFIGURATION,
    }
    return failure(by_code.get(outcome.code, Kind.UNKNOWN), said)


def _of_driver(outcome: Outcome, stdout: str, stderr: str) -> Failure:
    step = outcome.broken[0]
    words = last_words(stdout, stderr, *step.reason.split("; "))
    if words and not words.startswith(_UNEXPECTED):
        return failure(_match(_NAMED, words) or Kind.NAMED_ERROR, f"step {step.name}: {words}")
    printed = [line for text in (stdout, stderr) for line in text.splitlines()]
    # The step's own reason is EMR's text, or in it the last line of stderr.
    kind = _match(_LAST_WORDS, f"{words} {step.reason}")
    telling = words or step.reason
    if kind is None:
        kind, telling = _first_match(_PRINTED, printed) or (Kind.UNKNOWN, telling)
    if kind is Kind.UNKNOWN and not words:
        telling = _last_telling(printed) or step.reason
    return failure(kind, f"step {step.name}: {telling}")


def _match(table: _Table, text: str) -> Kind | None:
    return next((kind for kind, pattern in table if pattern.search(text)), None)


def _first_match(table: _Table, lines: list[str]) -> tuple[Kind, str] | None:
    """Return the first kind of the table that some line shows, and the last such line."""
    for kind, pattern in table:
        for line in reversed(lines):
            if pattern.search(line):
                return kind, line.strip()
    return None


def _last_telling(lines: list[str]) -> str:
    telling = (line for line in reversed(lines) if line.strip() and not _CHATTER.match(line))
    return next(telling, "").strip()

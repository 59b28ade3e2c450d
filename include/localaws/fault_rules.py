"""Describe the faults that can be set: one frozen, typed rule per fault; unknown keys are errors.

A rule says what goes wrong (`kind` and its settings), where (`match`, `service`, `operations`) and how
often (`after`, `times`, `probability`). A rule that could never strike is refused, not ignored.
Rules are not kept over a restart. Several may be set; of one kind the first that strikes does. Examples:

    {"kind": "reset", "service": "emr", "operations": ["RunJobFlow"], "when": "after", "times": 1}
    {"kind": "spot_loss", "match": {"tags": {"recsys:stage": "train"}}, "seconds": 5, "times": 1}
    {"kind": "error", "service": "s3", "code": "SlowDown", "probability": 0.2,
     "match": {"bucket": "models", "key": "groceries/versions/"}}
"""

from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

Service = Literal["emr", "s3", "sts"]
When = Literal["before", "after"]

CLUSTER = frozenset({"cluster", "tags", "instance_type", "market"})
STEP = CLUSTER | {"step"}
OBJECT = frozenset({"bucket", "key"})

# HTTP status of the error codes a rule may name without giving one.
STATUS = {
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "AccessDenied": 403,
    "InternalServerError": 500,
    "InternalServerException": 500,
    "AccessDeniedException": 400,
    "ValidationException": 400,
}


class FaultRuleError(ValueError):
    """A rule that is not understood; the message says where and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Strict):
    """Narrow a rule; what is not given matches everything. Names are globs (``*``, ``?``)."""

    cluster: str = "*"
    """Glob on the cluster's name."""

    tags: dict[str, str] = {}
    """Tag -> glob on its value; the cluster must carry all of them."""

    instance_type: str = "*"
    """Glob; the cluster must have a fleet or group that accepts nothing but such types."""

    market: Literal["ON_DEMAND", "SPOT"] | None = None
    """The cluster must have a fleet or group (of that `instance_type`) that buys on this market."""

    step: str = "*"
    """Glob on the step's name."""

    bucket: str = "*"
    """Glob on the bucket."""

    key: str = ""
    """Prefix of the object key, or of the listed prefix."""


class Rule(_Strict):
    """Hold what every kind of fault has."""

    subjects: ClassVar[frozenset[str]] = CLUSTER
    """The fields of `Match` that this kind can be narrowed by."""

    match: Match = Match()
    after: int = Field(default=0, ge=0)
    """Let this many matching occasions pass first."""

    times: int | None = Field(default=None, ge=1)
    """Strike this often; without a limit, always."""

    probability: float = Field(default=1.0, gt=0, le=1)
    """Chance to strike at each occasion; drawn from `seed`, so a run can be repeated."""

    seed: int = 0

    @model_validator(mode="after")
    def _match_applies(self) -> Self:
        foreign = self.match.model_fields_set - self.allowed_subjects()
        if foreign:
            message = (
                f"match: expected only {sorted(self.allowed_subjects())}, found {sorted(foreign)}"
            )
            raise ValueError(message)
        return self

    def allowed_subjects(self) -> frozenset[str]:
        """Return the fields of `Match` that can narrow this rule."""
        return self.subjects


class BootstrapFailure(Rule):
    """Let the first bootstrap action return a non-zero code: BOOTSTRAP_FAILURE.

    A cluster without bootstrap actions fails as EMR's own installation of the applications does.
    """

    kind: Literal["bootstrap_failure"]
    code: int = Field(default=1, ge=1, le=255)
    stderr: str = "the embedded AWS was told to let this bootstrap action fail\n"


class SlowStart(Rule):
    """Keep a cluster in STARTING for longer, at most until the rule is removed."""

    kind: Literal["slow_start"]
    seconds: float = Field(gt=0)


class Capacity(Rule):
    """Accept RunJobFlow and end the cluster for want of instances.

    The default reason is INSTANCE_FLEET_TIMEOUT with fleets, INTERNAL_ERROR (EC2 is out of capacity)
    with groups. VALIDATION_ERROR is EMR's answer when the zone does not offer the type at all.
    """

    kind: Literal["capacity"]
    reason: Literal["INSTANCE_FLEET_TIMEOUT", "INTERNAL_ERROR", "VALIDATION_ERROR"] | None = None
    message: str | None = None


class _StepRule(Rule):
    subjects: ClassVar[frozenset[str]] = STEP


class StepExit(_StepRule):
    """End a step's process with a code: instead of the command, or after it has done its work."""

    kind: Literal["step_exit"]
    code: int = Field(default=1, ge=1, le=255)
    when: When = "before"
    stderr: str = "the embedded AWS was told to let this step fail\n"


class StepHang(_StepRule):
    """Let a step's process never end, until it is killed; "after" it has done its work, if so told."""

    kind: Literal["step_hang"]
    when: When = "before"


class SpotLoss(_StepRule):
    """Take instances away `seconds` into a step, or at its end if that comes first.

    ``all``: every core node is gone; EMR ends the cluster (INSTANCE_FAILURE) and cancels the step.
    ``some``: the cluster lives, but the step dies of lost executors (FAILED).
    """

    kind: Literal["spot_loss"]
    lost: Literal["all", "some"] = "all"
    seconds: float = Field(default=0.5, ge=0)
    message: str | None = None


class LateLogs(_StepRule):
    """Put a step's logs into S3 only this long after its end, and none while it runs."""

    kind: Literal["late_logs"]
    seconds: float = Field(gt=0)


class ApiRule(Rule):
    """Hold what faults of single requests have."""

    service: Service
    operations: tuple[str, ...] = ("*",)
    """Names as in boto3's API reference (``RunJobFlow``, ``GetObject``), or globs on them."""

    when: When = "before"
    """``after``: the request has its effect, but the answer is this fault (or late, or lost)."""

    @model_validator(mode="after")
    def _operations_exist(self) -> Self:
        known = operations(self.service)
        for pattern in self.operations:
            if not any(fnmatchcase(name, pattern) for name in known):
                message = f"operations: {self.service} has no operation {pattern!r}"
                raise ValueError(message)
        return self

    def allowed_subjects(self) -> frozenset[str]:
        """Return the fields of `Match` that a request of the service can be told by."""
        return {"emr": CLUSTER, "s3": OBJECT, "sts": frozenset[str]()}[self.service]


class Throttle(ApiRule):
    """Refuse a request as too many: ThrottlingException (EMR), SlowDown (S3), Throttling (STS)."""

    kind: Literal["throttle"]


class ServiceError(ApiRule):
    """Answer with an error; by default the service's own internal error, status 500."""

    kind: Literal["error"]
    code: str | None = None
    status: int | None = Field(default=None, ge=400, le=599)
    message: str = "We encountered an internal error. Please try again."

    @model_validator(mode="after")
    def _has_status(self) -> Self:
        if self.code is not None and self.status is None and self.code not in STATUS:
            message = f"status: {self.code} needs one; only {sorted(STATUS)} are known"
            raise ValueError(message)
        return self


class Delay(ApiRule):
    """Answer late."""

    kind: Literal["delay"]
    seconds: float = Field(gt=0)


class Reset(ApiRule):
    """Cut the connection (TCP RST) instead of answering; ``after``: done, and the answer lost."""

    kind: Literal["reset"]


class CapacityRefused(Rule):
    """Refuse RunJobFlow itself; EMR does so for a type that the region does not offer."""

    kind: Literal["capacity_refused"]
    code: str = "ValidationException"
    message: str = "Instance type '{instance_type}' is not supported"


AnyRule = Annotated[
    BootstrapFailure
    | SlowStart
    | Capacity
    | StepExit
    | StepHang
    | SpotLoss
    | LateLogs
    | Throttle
    | ServiceError
    | Delay
    | Reset
    | CapacityRefused,
    Field(discriminator="kind"),
]
_RULES: TypeAdapter[list[AnyRule]] = TypeAdapter(list[AnyRule])


def parse(text: str | bytes) -> list[Rule]:
    """Read a JSON list of rules.

    Raises:
        FaultRuleError: it is no such list; all that is wrong is named.
    """
    try:
        return list(_RULES.validate_json(text))
    except ValidationError as error:
        found = "; ".join(_sentence(dict(detail)) for detail in error.errors())
        raise FaultRuleError(f"expected a JSON list of fault rules; {found}") from None


@cache
def operations(service: Service) -> tuple[str, ...]:
    """Return the names of a service's operations, from botocore's model."""
    import botocore.session

    return tuple(botocore.session.get_session().get_service_model(service).operation_names)


def _sentence(detail: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    return f"at {place or 'the top'}: {detail['msg']}"

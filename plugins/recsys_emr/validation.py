"""Hold a RunJobFlow request against the API's own model, offline, before anything is asked for.

botocore ships the model; its own validator checks names, types and lengths but not enumerations,
and it cannot know what a release line takes: those are checked here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from recommender.errors import ConfigError

if TYPE_CHECKING:
    from botocore.model import Shape

# https://docs.aws.amazon.com/emr/latest/ManagementGuide/AddMoreThan256Steps.html; the Spark line: 100.
_MOST_STEPS = 256
_MOST_STEPS_ON_SPARK_LINE = 100
_SPARK_LINE = "emr-spark-"


def check_request(request: Mapping[str, Any]) -> None:
    """Refuse what EMR would refuse.

    Raises:
        ConfigError: names every wrong place, what stands there and what was expected.
    """
    wrong = [*_by_model(request), *_by_release(request)]
    if wrong:
        message = "expected a RunJobFlow request that EMR takes, found:\n  " + "\n  ".join(wrong)
        raise ConfigError(f"{message}\nmend the environment's YAML (`emr` and its `shapes`)")


def _by_model(request: Mapping[str, Any]) -> list[str]:
    from botocore.validate import ParamValidator

    model = _model()
    report = ParamValidator().validate(request, model)
    text = report.generate_report() if report.has_errors() else ""
    return [*text.splitlines(), *_not_in_enumerations(request, model, "")]


def _by_release(request: Mapping[str, Any]) -> Iterator[str]:
    label = str(request.get("ReleaseLabel", ""))
    on_spark_line = label.startswith(_SPARK_LINE)
    steps = len(request.get("Steps", ()))
    most = _MOST_STEPS_ON_SPARK_LINE if on_spark_line else _MOST_STEPS
    if not 1 <= steps <= most:
        yield f"Steps: {steps}; {label} takes 1 to {most} in one request"
    applications = [entry["Name"] for entry in request.get("Applications", ())]
    if on_spark_line and applications != ["Spark"]:
        yield f"Applications: {applications}; {label} takes Spark alone"


def _not_in_enumerations(value: Any, shape: Shape, path: str) -> Iterator[str]:  # noqa: ANN401 - a request is any JSON
    """Yield every text that the model's enumeration at its place does not hold."""
    members: Mapping[str, Shape] = getattr(shape, "members", {})
    if isinstance(value, Mapping):
        for key in value.keys() & members.keys():
            yield from _not_in_enumerations(value[key], members[key], f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple) and (member := getattr(shape, "member", None)):
        for index, entry in enumerate(value):
            yield from _not_in_enumerations(entry, member, f"{path}[{index}]")
    elif (known := getattr(shape, "enum", None)) and value not in known:
        yield f"{path}: {value!r}; the API knows {', '.join(known)}"


@functools.cache
def _model() -> Shape:
    """Return the model of RunJobFlow's request; 0.2 s, hence only when a request is made."""
    from botocore.session import Session

    service = Session().get_service_model("emr")
    shape = service.operation_model("RunJobFlow").input_shape
    if shape is None:
        message = "expected botocore's model of RunJobFlow to describe its request, found nothing"
        raise ConfigError(message)
    return shape

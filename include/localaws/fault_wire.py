"""Let single requests fail as AWS lets them fail: errors, throttling, late answers, cut connections."""

import json
import logging
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIApplication
from xml.sax.saxutils import escape

from localaws.aws_request import FindCluster, target_of
from localaws.fault_rules import (
    STATUS,
    ApiRule,
    CapacityRefused,
    Delay,
    Reset,
    Rule,
    ServiceError,
    Throttle,
)
from localaws.faults import Faults, Target
from localaws.wsgi import DropConnectionError

logger = logging.getLogger(__name__)

# Code, status and message of "too many requests", by service.
_THROTTLED = {
    "emr": ("ThrottlingException", 400, "Rate exceeded"),
    "s3": ("SlowDown", 503, "Please reduce your request rate."),
    "sts": ("Throttling", 400, "Rate exceeded"),
}
_REASON = {400: "Bad Request", 403: "Forbidden", 500: "Internal Server Error"}
_REASON |= {503: "Service Unavailable"}


class FaultyApplication:
    """Stands before the embedded AWS and lets requests through, or does not."""

    def __init__(self, app: WSGIApplication, faults: Faults, find: FindCluster) -> None:
        self._app = app
        self._faults = faults
        self._find = find

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request.

        Raises:
            DropConnectionError: the connection is to be cut.
        """
        if not self._faults:
            return self._app(environ, start_response)
        target = target_of(environ, self._find)
        delay = self._faults.take(Delay, target)
        strike = self._strike(target)
        if delay and delay.when == "before":
            self._faults.hold(delay, delay.seconds)
        if strike is None:
            answer = self._app(environ, start_response)
        else:
            if _when(strike) == "after":
                self._have_effect(environ)
            answer = _fail(strike, target, start_response)
        if delay and delay.when == "after":
            self._faults.hold(delay, delay.seconds)
        return answer

    def _strike(self, target: Target) -> Rule | None:
        if target.operation == "RunJobFlow":
            refused = self._faults.take(CapacityRefused, target)
            if refused:
                return refused
        for kind in (Throttle, ServiceError, Reset):
            found = self._faults.take(kind, target)
            if found:
                return found
        return None

    def _have_effect(self, environ: dict[str, Any]) -> None:
        """Serve the request and throw the answer away."""

        def ignore(*_: object) -> Any:  # noqa: ANN401  (WSGI's write)
            return lambda _: None

        blocks = self._app(environ, ignore)
        close = getattr(blocks, "close", None)
        if close is not None:
            close()


def _when(rule: Rule) -> str:
    return rule.when if isinstance(rule, ApiRule) else "before"


def _fail(rule: Rule, target: Target, start_response: StartResponse) -> Iterable[bytes]:
    if isinstance(rule, Reset):
        raise DropConnectionError(f"fault: connection cut at {target.operation}")
    code, status, message = _error(rule, target)
    content_type, body, headers = _shape(target.service, code, status, message)
    headers += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    start_response(f"{status} {_REASON.get(status, 'Error')}", headers)
    return [body]


def _error(rule: Rule, target: Target) -> tuple[str, int, str]:
    """Return code, status and message of the error a rule asks for."""
    if isinstance(rule, CapacityRefused):
        types = sorted(name for _, names in target.capacity for name in names)
        message = rule.message.replace("{instance_type}", types[0] if types else "unknown")
        return rule.code, STATUS.get(rule.code, 400), message
    if isinstance(rule, ServiceError):
        code = rule.code or _internal_error(target)
        return code, rule.status or STATUS.get(code, 500), rule.message
    return _THROTTLED[target.service]


def _internal_error(target: Target) -> str:
    if target.service == "emr":
        return _emr_internal_error(target.operation)
    return "InternalError" if target.service == "s3" else "InternalFailure"


@cache
def _emr_internal_error(operation: str) -> str:
    """Return the internal error EMR's model names for an operation: older and newer ones differ."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("emr")
    if operation in model.operation_names:
        for shape in model.operation_model(operation).error_shapes:
            if shape.name.startswith("InternalServer"):
                return str(shape.name)
    return "InternalFailure"


def _shape(
    service: str, code: str, status: int, message: str
) -> tuple[str, bytes, list[tuple[str, str]]]:
    """Write an error in the service's protocol; content type, body and headers."""
    request_id = str(uuid4())
    headers = [("x-amzn-RequestId", request_id)]
    if service == "emr":
        body = json.dumps({"__type": code, "message": message}).encode()
        return "application/x-amz-json-1.1", body, headers
    fields = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if service == "s3":
        text = f"<Error>{fields}<RequestId>{request_id}</RequestId></Error>"
        headers = [("x-amz-request-id", request_id)]
        return "application/xml", _XML + text.encode(), headers
    blame = "Sender" if status < 500 else "Receiver"
    text = f"<Error><Type>{blame}</Type>{fields}</Error><RequestId>{request_id}</RequestId>"
    return "text/xml", _XML + f"<ErrorResponse>{text}</ErrorResponse>".encode(), headers


_XML = b'<?xml version="1.0" encoding="UTF-8"?>\n'

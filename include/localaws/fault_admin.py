"""Serve ``/_localaws/faults``: GET shows the rules, POST adds some, DELETE removes one (?id=N) or all."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse

from localaws.fault_rules import FaultRuleError, parse
from localaws.faults import Faults

FAULTS_PATH = "/_localaws/faults"


def administer(
    environ: dict[str, Any], start_response: StartResponse, faults: Faults
) -> Iterable[bytes]:
    """Answer one request on the rules; every answer but an error shows all of them."""
    method = environ["REQUEST_METHOD"]
    if method == "POST":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            faults.add(parse(environ["wsgi.input"].read(length)))
        except FaultRuleError as error:
            return _answer(start_response, "400 Bad Request", {"error": str(error)})
    elif method == "DELETE":
        wanted = parse_qs(environ["QUERY_STRING"]).get("id", [""])[0]
        if wanted and not wanted.isdigit():
            message = f"expected a rule's number in ?id=, found {wanted!r}"
            return _answer(start_response, "400 Bad Request", {"error": message})
        if not faults.remove(int(wanted) if wanted else None):
            message = f"expected the id of a rule that is set, found {wanted}"
            return _answer(start_response, "404 Not Found", {"error": message})
    elif method != "GET":
        message = f"expected GET, POST or DELETE, found {method}"
        return _answer(start_response, "405 Method Not Allowed", {"error": message})
    return _answer(start_response, "200 OK", faults.report())


def _answer(start_response: StartResponse, status: str, document: object) -> Iterable[bytes]:
    body = json.dumps(document).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]

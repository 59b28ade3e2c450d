"""Tell which operation of which service an HTTP request is, by the names boto3 uses."""

import io
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from localaws.emr_documents import ClusterDocument, Json
from localaws.emr_instances import wanted_capacity
from localaws.faults import Target, moment_of

Environ = dict[str, Any]
FindCluster = Callable[[str], ClusterDocument | None]

_CREDENTIAL = re.compile(r"Credential=[^/]*/[^/]*/[^/]*/([^/]*)/aws4_request")
_NAMES = {"elasticmapreduce": "emr"}


def signed_service(environ: Environ) -> str:
    """Name the service a request was signed for, as in its credential; unsigned requests are S3's."""
    signed = environ.get("HTTP_AUTHORIZATION", "") + environ["QUERY_STRING"].replace("%2F", "/")
    found = _CREDENTIAL.search(signed.replace("X-Amz-Credential", "Credential"))
    return found.group(1) if found else "s3"


def target_of(environ: Environ, find: FindCluster) -> Target:
    """Describe a request.

    Args:
        environ: WSGI's; a body that has to be read is put back.
        find: looks up a cluster by its id.
    """
    name = signed_service(environ)
    service = _NAMES.get(name, name)
    if service == "s3":
        return _s3_target(environ)
    body = _body(environ)
    if service == "emr":
        return _emr_target(environ.get("HTTP_X_AMZ_TARGET", ""), _document(body), find)
    return Target(service, parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0])


def _s3_target(environ: Environ) -> Target:
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    copy = "HTTP_X_AMZ_COPY_SOURCE" in environ
    operation = s3_operation(
        environ["REQUEST_METHOD"], bool(bucket), bool(key), frozenset(query), copy=copy
    )
    return Target("s3", operation, bucket=bucket, key=key or query.get("prefix", [""])[0])


@cache
def s3_operation(method: str, bucket: bool, key: bool, query: frozenset[str], *, copy: bool) -> str:
    """Find an S3 operation in botocore's model: of those that fit, the one that demands most.

    Args:
        method: HTTP method.
        bucket: whether the path names one.
        key: whether the path names one.
        query: names in the query string.
        copy: whether there is an x-amz-copy-source header.
    """
    best, most = "", -1
    for name, wanted_method, wants_bucket, wants_key, wanted_query, wants_copy in _s3_model():
        fits = (method, bucket, key) == (wanted_method, wants_bucket, wants_key)
        demands = len(wanted_query) + wants_copy
        if fits and wanted_query <= query and wants_copy <= copy and demands > most:
            best, most = name, demands
    return best


@cache
def _s3_model() -> tuple[tuple[str, str, bool, bool, frozenset[str], bool], ...]:
    """Return each operation's name, method, path and what it demands of query and headers."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("s3")
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, literal = operation.http["requestUri"].partition("?")
        shape = operation.input_shape
        required = [shape.members[m].serialization for m in shape.required_members] if shape else []
        query = {part.partition("=")[0] for part in literal.split("&") if part}
        query |= {s["name"] for s in required if s.get("location") == "querystring"}
        copy = any(s.get("name") == "x-amz-copy-source" for s in required)
        wants_key, wants_bucket = "{Key+}" in path, "{Bucket}" in path
        method = operation.http["method"]
        found.append((name, method, wants_bucket, wants_key, frozenset(query), copy))
    return tuple(found)


def _emr_target(header: str, document: Json, find: FindCluster) -> Target:
    operation = header.rpartition(".")[2]
    if operation == "RunJobFlow":
        tags = {tag.get("Key", ""): tag.get("Value", "") for tag in document.get("Tags") or []}
        capacity = wanted_capacity(document)
        return Target("emr", operation, str(document.get("Name", "")), tags, capacity)
    ids = document.get("JobFlowIds") or []
    single = (document.get(name) for name in ("ClusterId", "JobFlowId", "ResourceId"))
    cluster_id = next((str(found) for found in (*single, *ids[:1]) if found), "")
    cluster = find(cluster_id)
    if cluster is None:
        return Target("emr", operation)
    known = moment_of(cluster)
    return Target("emr", operation, known.cluster, known.tags, known.capacity)


def _body(environ: Environ) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _document(body: bytes) -> Json:
    try:
        found = json.loads(body)
    except ValueError:
        return {}  # EMR's own parser refuses it in a moment
    return found if isinstance(found, dict) else {}

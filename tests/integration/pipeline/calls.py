"""Turn recorded requests into what IAM decides on: principal, action, resource, context.

Names that differ from run to run (run keys, hashes, cluster ids) become ``...``, buckets their role,
so that the same record holds for every environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

Call = dict[str, Any]
PRINCIPALS = {"airflow": "airflow", "localaws": "emr-nodes"}  # access key -> whose policy
_FOLDERS = {"recsys-lake": 1, "recsys-work": 1, "recsys-models": 2}  # parts of a key that are kept
_DAG = "recsys:dag"
REMEDY = """what to do:
1. If the change is wanted, write the record again and read its diff (or edit calls.json by hand: sorted, one
   entry a call): pytest tests/integration/pipeline/test_calls.py --rebuild-golden
2. pytest tests/dags/test_policies.py then names each call that no policy allows and each statement that
   nobody uses any more: mend plugins/recsys_emr/policies.py, then
   pytest tests/unit/plugins/test_policy_documents.py --rebuild-golden
A call that this test does not come to (another DAG, a later run) belongs into it: let the product's own
function make it under `acting_as(role)`."""


def calls(lines: Iterable[str], dag_of: Mapping[str, str]) -> list[Call]:
    """Return every different call of the principals, sorted.

    Args:
        lines: the recorder's JSON lines.
        dag_of: cluster id -> its tag ``recsys:dag``.
    """
    found = set[str]()
    for line in lines:
        request = json.loads(line)
        if request["key"] in PRINCIPALS:
            for call in _emr(request, dag_of) if request["target"] else _s3(request):
                found.add(json.dumps({"principal": PRINCIPALS[request["key"]], **call}))
    return sorted((json.loads(text) for text in found), key=json.dumps)


def difference(found: list[Call], golden: list[Call]) -> str:
    """Say which calls are new and which are gone, and what to do; empty if none is."""
    lines = [f"new:  {json.dumps(call)}" for call in found if call not in golden]
    lines += [f"gone: {json.dumps(call)}" for call in golden if call not in found]
    return "\n".join(["the calls of a run have changed:", *lines, REMEDY]) if lines else ""


def _s3(request: Mapping[str, str]) -> Iterator[Call]:
    bucket, _, key = unquote(request["path"]).lstrip("/").partition("/")
    query = parse_qs(request["query"], keep_blank_values=True)
    method = request["method"]
    if not key:
        if "delete" in query:
            for name in re.findall(r"<Key>(.*?)</Key>", request["body"]):
                yield _object("s3:DeleteObject", bucket, name)
        else:
            yield {"action": "s3:ListBucket", "resource": f"arn:aws:s3:::{_root(bucket)}"}
        return
    if request["copy_source"]:
        source, _, name = unquote(request["copy_source"]).lstrip("/").partition("/")
        yield _object("s3:GetObject", source, name)
    reads, aborts = method in {"GET", "HEAD"}, method == "DELETE" and "uploadId" in query
    removes = method == "DELETE" and not aborts
    action = (
        "s3:GetObject"
        if reads
        else "s3:AbortMultipartUpload"
        if aborts
        else "s3:DeleteObject"
        if removes
        else "s3:PutObject"
    )
    yield _object(action, bucket, key)


def _emr(request: Mapping[str, str], dag_of: Mapping[str, str]) -> Iterator[Call]:
    operation = request["target"].partition(".")[2]
    body = json.loads(request["body"])
    action = f"elasticmapreduce:{operation}"
    if operation == "RunJobFlow":
        tags = {tag["Key"]: tag["Value"] for tag in body["Tags"]}
        context = {f"aws:RequestTag/{_DAG}": _pattern(tags[_DAG])}
        yield {"action": action, "resource": "*", "context": context}
        yield {"action": "elasticmapreduce:AddTags", "resource": "*", "context": context}
        yield _pass("{service_role}", "elasticmapreduce.amazonaws.com")
        yield _pass("{instance_profile}", "ec2.amazonaws.com")
        return
    ids = body.get("JobFlowIds") or [body[name] for name in ("ClusterId",) if name in body]
    if not ids:
        yield {"action": action, "resource": "*"}
    for cluster_id in ids:
        context = {f"elasticmapreduce:ResourceTag/{_DAG}": _pattern(dag_of[cluster_id])}
        yield {"action": action, "resource": "{cluster}", "context": context}


def _pass(role: str, service: str) -> Call:
    context = {"iam:PassedToService": service}
    return {"action": "iam:PassRole", "resource": role, "context": context}


def _object(action: str, bucket: str, key: str) -> Call:
    kept = _FOLDERS[bucket]
    parts = key.split("/")
    name = "/".join(parts if len(parts) <= kept else [*parts[:kept], "..."])
    if len(parts) > 2 and parts[1] == "recommendations":
        name = f"{parts[0]}/{parts[1]}/{'runs/...' if parts[2] == 'runs' else parts[2]}"
    if key.endswith("/report.html"):  # a file of a run that Airflow writes itself
        name = f"{parts[0]}/.../report.html"
    if "/checks/" in key and action == "s3:PutObject":
        name = f"{parts[0]}/.../checks/..."
    return {"action": action, "resource": f"arn:aws:s3:::{_root(bucket)}/{_pattern(name)}"}


def _root(bucket: str) -> str:
    return f"{{{bucket.removeprefix('recsys-')}}}"


def _pattern(text: str) -> str:
    """Give every recommender of the tests one name."""
    return re.sub(r"\b(retrain_|recommend_)?shop(_dirty)?\b", r"\1shop", text)

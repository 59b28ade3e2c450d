"""Least privilege: every recorded call is allowed, and nothing is allowed that nobody calls.

``tests/integration/pipeline/test_calls.py`` records the calls of whole runs; here they are evaluated
against the policies of both environments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recommender import environment
from recommender.environment import Environment
from recsys_emr import policies

GOLDEN = Path(__file__).parent / "golden"
ROLE = "arn:aws:iam::000000000000:role/recsys-steps"
# What only a real EMR does, and the embedded one cannot show: (policy, action, resource, why).
UNRECORDED = [
    ("emr-nodes", "s3:GetObject", "{work}/wheelhouse/*", "aws s3 cp in the bootstrap"),
    ("emr-nodes", "s3:PutObject", "{work}/emr-logs/*", "EMR's log pusher on every node"),
    (
        "emr-nodes",
        "s3:AbortMultipartUpload",
        "{work}/runs/*",
        "boto3 and S3A after a failed upload",
    ),
    (
        "emr-nodes",
        "s3:AbortMultipartUpload",
        "{models}/*/recommendations/runs/*",
        "boto3 after a failed upload",
    ),
]


KEY = "arn:aws:kms:us-east-1:000000000000:key/0123"


@dataclass(frozen=True)
class Call:
    """One thing a principal wants to do; ``context`` holds what conditions look at."""

    principal: str
    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict, hash=False)


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: * is any text, ? one character, nothing else is special."""
    parts = {"*": ".*", "?": "."}
    regex = "".join(parts.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(regex, text) is not None


def holds(
    condition: Mapping[str, Mapping[str, str | list[str]]], context: Mapping[str, str]
) -> bool:
    """Every operator and every key has to hold; a key that is not there does not."""
    for operator, wanted in condition.items():
        for key, value in wanted.items():
            if key not in context:
                return False
            values = [value] if isinstance(value, str) else value  # of several, one has to fit
            if operator == "StringEquals" and context[key] not in values:
                return False
            if operator in {"StringLike", "ArnLike"} and not any(
                matches(one, context[key]) for one in values
            ):
                return False
            if operator not in {"StringEquals", "StringLike", "ArnLike"}:
                raise NotImplementedError(operator)  # fails closed: teach it before using it
    return True


def grants(policy: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every (action, resource, condition) that a policy allows."""
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            for resource in statement["Resource"]:
                yield action, resource, statement.get("Condition", {})


def allows(grant: tuple[str, str, dict[str, Any]], call: Call) -> bool:
    action, resource, condition = grant
    return (
        matches(action, call.action)
        and matches(resource, call.resource)
        and holds(condition, call.context)
    )


def allowed(policy: Mapping[str, Any], call: Call) -> bool:
    return any(allows(grant, call) for grant in grants(policy))


def with_role(env: Environment) -> Environment:
    emr = env.emr.model_copy(
        update={"runtime_role": ROLE, "security_configuration": "hardened", "log_kms_key": KEY}
    )
    return env.model_copy(update={"emr": emr})


@pytest.fixture(params=["aws", "local"])
def env(request: pytest.FixtureRequest) -> Environment:
    return environment.load(request.param)


def concrete(call: dict[str, Any], env: Environment) -> Call:
    names = {
        **{name: getattr(env, name).removeprefix("s3://") for name in ("lake", "work", "models")},
        "cluster": f"arn:aws:elasticmapreduce:{env.emr.region}:{env.emr.account}:cluster/j-1",
        "service_role": f"arn:aws:iam::{env.emr.account}:role/{env.emr.service_role}",
        "instance_profile": f"arn:aws:iam::{env.emr.account}:role/{env.emr.instance_profile}",
    }
    resource = call["resource"].format(**names)
    return Call(call["principal"], call["action"], resource, call.get("context", {}))


def recorded(env: Environment) -> list[Call]:
    return [concrete(call, env) for call in json.loads((GOLDEN / "calls.json").read_text())]


def test_every_recorded_call_is_allowed(env: Environment) -> None:
    documents = policies.documents(env)
    denied = [call for call in recorded(env) if not allowed(documents[call.principal], call)]
    assert not denied, "\n".join(
        [
            "calls that the shipped policies deny; allow each in plugins/recsys_emr/policies.py, as narrowly",
            "as it goes, or do not make it; then pytest tests/unit/plugins/test_policy_documents.py --rebuild-golden:",
            *map(str, denied),
        ]
    )
    assert {call.principal for call in recorded(env)} == {"airflow", "emr-nodes"}


def test_nothing_allowed_goes_unused() -> None:
    env = environment.load("aws")
    calls = recorded(env)
    unused = {
        (name, grant[0], re.sub("^arn:aws:s3:::example-recsys-(work|models)", r"{\1}", grant[1]))
        for name in ("airflow", "emr-nodes")
        for grant in grants(policies.documents(env)[name])
        if not any(call.principal == name and allows(grant, call) for call in calls)
    }
    known = {(name, action, resource) for name, action, resource, _why in UNRECORDED}
    assert not unused - known, (
        f"allowed, but in no record: {sorted(unused - known)}; take it out of plugins/recsys_emr/policies.py, "
        "or let tests/integration/pipeline/test_calls.py make the call, or say in UNRECORDED why it cannot"
    )
    assert not known - unused, f"no longer unrecorded, take out of UNRECORDED: {known - unused}"


@pytest.mark.parametrize(
    "call",
    [
        Call("airflow", "s3:DeleteObject", "arn:aws:s3:::example-recsys-models/shop/champion.json"),
        Call("airflow", "s3:GetObject", "arn:aws:s3:::example-recsys-lake/snapshots/shop/x"),
        Call("airflow", "s3:PutObject", "arn:aws:s3:::example-recsys-work/runs/x"),
        Call("airflow", "s3:PutObject", "arn:aws:s3:::somebody-else/x"),
        Call("airflow", "iam:PassRole", "arn:aws:iam::000000000000:role/Admin"),
        Call("airflow", "elasticmapreduce:RunJobFlow", "*"),  # without a tag of ours
        Call(
            "airflow",
            "elasticmapreduce:TerminateJobFlows",
            "arn:aws:elasticmapreduce:us-east-1:000000000000:cluster/j-1",
            {"elasticmapreduce:ResourceTag/recsys:dag": "somebody_elses"},
        ),
        Call("emr-nodes", "s3:PutObject", "arn:aws:s3:::example-recsys-models/shop/champion.json"),
        Call(
            "emr-nodes",
            "s3:PutObject",
            "arn:aws:s3:::example-recsys-models/shop/recommendations/latest.json",
        ),
        Call("emr-nodes", "s3:DeleteObject", "arn:aws:s3:::example-recsys-models/shop/versions/x"),
        Call("emr-nodes", "s3:DeleteObject", "arn:aws:s3:::example-recsys-lake/snapshots/shop/x"),
        Call("emr-nodes", "s3:PutObject", "arn:aws:s3:::example-recsys-work/code/x"),
        Call("emr-nodes", "elasticmapreduce:RunJobFlow", "*"),
    ],
)
def test_what_would_hurt_is_denied(call: Call) -> None:
    assert not allowed(policies.documents(environment.load("aws"))[call.principal], call)


def test_with_a_role_for_steps_the_nodes_hold_no_data() -> None:
    env = with_role(environment.load("aws"))
    documents = policies.documents(env)
    nodes = [call for call in recorded(env) if call.principal == "emr-nodes"]
    assert nodes
    for call in nodes:
        assert allowed(documents["emr-steps"], call), call
        on_runs = (
            "/runs/" in call.resource or "-lake" in call.resource or "-models" in call.resource
        )
        assert allowed(documents["emr-nodes"], call) is not on_runs, call
    role = Call("emr-nodes", "sts:AssumeRole", ROLE)
    assert allowed(documents["emr-nodes"], role)


def test_the_matcher_knows_iams_wildcards() -> None:
    assert matches("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/[1].json")
    assert matches("retrain_?", "retrain_x")
    assert not matches("arn:aws:s3:::b/a*", "arn:aws:s3:::b/b")
    with pytest.raises(NotImplementedError):
        allowed(
            {
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": ["a"],
                        "Resource": ["*"],
                        "Condition": {"Bool": {"x": "true"}},
                    }
                ]
            },
            Call("p", "a", "r", {"x": "true"}),
        )

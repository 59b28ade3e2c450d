"""Write the IAM policies of an environment: what each role needs, and nothing else.

``make policies ENVIRONMENT=aws`` prints them, or writes them into a folder. They come from the same
configuration as the requests, and a test holds them against the calls that whole runs have made.

- ``airflow``: the role of Airflow's workers and triggerer.
- ``emr-service``: beside the managed AmazonEMRServicePolicy_v2, which acts only on what carries
  the tag ``for-use-with-amazon-emr-managed-policies``: tag the subnets with it, too.
- ``emr-nodes``: the role of the instance profile; ``emr-steps`` takes the data from it where
  ``runtime_role`` is set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recommender import environment, storage
from recommender.environment import Environment
from recommender.errors import ConfigError, RecommenderError
from recsys_emr.job_flow import TAG_DAG

MANAGED_SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
_OUR_DAGS = ["retrain_*", "recommend_*"]

_LISTS = "*/recommendations/runs/"

Statement = dict[str, Any]


def documents(env: Environment) -> dict[str, Any]:
    """Return every policy and trust policy by name.

    Raises:
        ConfigError: the environment has no account or no S3 roots.
    """
    policies = {"airflow": airflow(env), "emr-service": emr_service(env)}
    policies["emr-nodes"] = _policy([*_bootstrap(env), *_step_role(env), *_data_of_nodes(env)])
    policies["emr-service-trust"] = _trust("elasticmapreduce.amazonaws.com", env)
    policies["emr-nodes-trust"] = _trust("ec2.amazonaws.com", None)
    if env.emr.runtime_role:
        policies["emr-steps"] = _policy(_data(env))
        policies["emr-steps-trust"] = _steps_trust(env)
    return policies


def airflow(env: Environment) -> dict[str, Any]:
    """Return what Airflow needs: clusters of its own, staged code, reports, the model store."""
    emr, account = env.emr, _account(env)
    clusters = f"arn:aws:elasticmapreduce:{emr.region}:{account}:cluster/*"
    return _policy(
        [
            _allow(
                "StartTaggedClusters",
                ["elasticmapreduce:RunJobFlow", "elasticmapreduce:AddTags"],
                ["*"],
                {"StringLike": {f"aws:RequestTag/{TAG_DAG}": _OUR_DAGS}},
            ),
            _allow("FindClusters", ["elasticmapreduce:ListClusters"], ["*"]),
            _allow(
                "LookAtClusters",
                [
                    "elasticmapreduce:DescribeCluster",
                    "elasticmapreduce:ListInstanceFleets",
                    "elasticmapreduce:ListInstances",
                    "elasticmapreduce:ListSteps",
                ],
                [clusters],
            ),
            _allow(
                "EndOwnClusters",
                ["elasticmapreduce:TerminateJobFlows"],
                [clusters],
                {"StringLike": {f"elasticmapreduce:ResourceTag/{TAG_DAG}": _OUR_DAGS}},
            ),
            _pass(
                "PassServiceRole", _role(env, emr.service_role), "elasticmapreduce.amazonaws.com"
            ),
            _pass("PassNodesRole", _role(env, emr.instance_profile), "ec2.amazonaws.com"),
            # Without s3:ListBucket S3 answers 403, not 404, for what is not there yet.
            _allow("ListBuckets", ["s3:ListBucket"], _buckets(env.lake, env.work, env.models)),
            _allow(
                "ReadRuns",
                ["s3:GetObject"],
                [_objects(env.work, "runs/"), _objects(env.work, "emr-logs/")],
            ),
            _allow("RecordChecks", ["s3:PutObject"], [_objects(env.work, "runs/*/checks/")]),
            _allow("StageCode", ["s3:PutObject"], [_objects(env.work, "code/")]),
            _allow("WritePages", ["s3:PutObject"], [f"{_objects(env.work, 'runs/')}/report.html"]),
            _allow("Publish", ["s3:GetObject", "s3:PutObject"], [_objects(env.models)]),
            # Retention, and a publication that finds its version pruned; never the pointer.
            _allow("Prune", ["s3:DeleteObject"], [_objects(env.models, "*/versions/")]),
            # Lists that newer ones have replaced for the third time.
            _allow("DropLists", ["s3:DeleteObject"], [_objects(env.models, _LISTS)]),
            *_keys(env, ["kms:Decrypt"]),
        ]
    )


def emr_service(env: Environment) -> dict[str, Any]:
    """Return what EMR's own role needs beside the managed policy: to start nodes with their role."""
    return _policy(
        [_pass("PassNodesRole", _role(env, env.emr.instance_profile), "ec2.amazonaws.com")]
    )


def _bootstrap(env: Environment) -> list[Statement]:
    """Return what every node needs, whoever runs the steps: its packages, and to leave its logs."""
    readable = [_objects(env.work, "code/")]
    if env.emr.wheelhouse:
        readable.append(_objects(env.emr.wheelhouse))
    buckets = _buckets(env.work, *([env.emr.wheelhouse] if env.emr.wheelhouse else []))
    return [
        _allow("ReadCodeAndWheels", ["s3:GetObject"], readable),
        _allow("ListForBootstrap", ["s3:ListBucket"], buckets),
        _allow("WriteLogs", ["s3:PutObject"], [_objects(env.work, "emr-logs/")]),
        *_keys(env, ["kms:Decrypt", "kms:GenerateDataKey"]),
    ]


def _data_of_nodes(env: Environment) -> list[Statement]:
    return [] if env.emr.runtime_role else _data(env)


def _data(env: Environment) -> list[Statement]:
    """Return what the jobs need: read snapshots and versions, write runs and lists for everyone."""
    return [
        _allow("ListData", ["s3:ListBucket"], _buckets(env.lake, env.work, env.models)),
        _allow(
            "ReadData",
            ["s3:GetObject"],
            [
                _objects(env.lake, "snapshots/"),
                _objects(env.work, "code/"),
                _objects(env.work, "runs/"),
                _objects(env.models),
            ],
        ),
        # Outputs are cleared before they are written, and large files go up in parts.
        _allow(
            "WriteRuns",
            ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            [_objects(env.work, "runs/"), _objects(env.models, _LISTS)],
        ),
    ]


def _step_role(env: Environment) -> list[Statement]:
    role = env.emr.runtime_role
    return [_allow("ActAsSteps", ["sts:AssumeRole", "sts:TagSession"], [role])] if role else []


def _keys(env: Environment, actions: list[str]) -> list[Statement]:
    return [_allow("UseLogKey", actions, [env.emr.log_kms_key])] if env.emr.log_kms_key else []


def _pass(sid: str, role: str, service: str) -> Statement:
    condition = {"StringEquals": {"iam:PassedToService": service}}
    return _allow(sid, ["iam:PassRole"], [role], condition)


def _allow(
    sid: str, actions: list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> Statement:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def _policy(statements: Iterable[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _trust(service: str, env: Environment | None) -> dict[str, Any]:
    """Return who may take a role; EMR's is bound to this account, against confused deputies."""
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if env:
        account = _account(env)
        statement["Condition"] = {
            "StringEquals": {"aws:SourceAccount": account},
            "ArnLike": {"aws:SourceArn": f"arn:aws:elasticmapreduce:{env.emr.region}:{account}:*"},
        }
    return _policy([statement])


def _steps_trust(env: Environment) -> dict[str, Any]:
    nodes = {"AWS": _role(env, env.emr.instance_profile)}
    actions = ["sts:AssumeRole", "sts:TagSession"]
    return _policy([{"Effect": "Allow", "Principal": nodes, "Action": actions}])


def _role(env: Environment, name: str) -> str:
    return name if name.startswith("arn:") else f"arn:aws:iam::{_account(env)}:role/{name}"


def _account(env: Environment) -> str:
    if env.emr.account is None:
        message = f"environment {env.name}: expected emr.account for the IAM policies, found none"
        raise ConfigError(message)
    return env.emr.account


def _buckets(*uris: str) -> list[str]:
    return sorted({f"arn:aws:s3:::{_split(uri)[0]}" for uri in uris})


def _objects(root: str, folder: str = "") -> str:
    bucket, prefix = _split(root)
    return f"arn:aws:s3:::{bucket}/{prefix}{folder}*"


def _split(uri: str) -> tuple[str, str]:
    """Return bucket and prefix, the prefix empty or ending in a slash."""
    if not storage.is_s3(uri):
        message = f"expected s3://bucket/prefix for the IAM policies, found {uri!r}"
        raise ConfigError(message)
    parts = urlsplit(uri)
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def main(arguments: list[str] | None = None) -> int:
    """Print the policies, or write each into a folder; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", default="aws")
    parser.add_argument("--out", type=Path, default=None, help="folder; default: print")
    asked = parser.parse_args(arguments)
    try:
        found = documents(environment.load(asked.environment))
    except RecommenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if asked.out is None:
        print(json.dumps(found, indent=2))
        return 0
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, document in found.items():
        (asked.out / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
        print(asked.out / f"{name}.json")
    print(f"attach {MANAGED_SERVICE_POLICY} to the EMR service role beside emr-service.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The policy documents: who may take which role, and what reviewers see as a diff.

``--rebuild-golden`` writes the files under ``tests/dags/golden/policies`` again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recommender import environment
from recommender.environment import Environment
from recommender.errors import ConfigError
from recsys_emr import policies

GOLDEN = Path(__file__).parents[2] / "dags" / "golden" / "policies"
ROLE = "arn:aws:iam::000000000000:role/recsys-steps"
KEY = "arn:aws:kms:us-east-1:000000000000:key/0123"


def with_role(env: Environment) -> Environment:
    emr = env.emr.model_copy(
        update={"runtime_role": ROLE, "security_configuration": "hardened", "log_kms_key": KEY}
    )
    return env.model_copy(update={"emr": emr})


def test_only_emr_of_this_account_may_take_the_service_role() -> None:
    trust = policies.documents(environment.load("aws"))["emr-service-trust"]["Statement"][0]
    assert trust["Principal"] == {"Service": "elasticmapreduce.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "000000000000"}


@pytest.mark.parametrize("env", ["aws", "local"])
def test_no_policy_allows_everything(env: str) -> None:
    for name, document in policies.documents(with_role(environment.load(env))).items():
        if name.endswith("-trust"):
            continue
        for statement in document["Statement"]:
            assert not any("*" in action for action in statement["Action"]), (name, statement)
            # RunJobFlow, AddTags and ListClusters have no resource to name before there is one.
            if "*" in statement["Resource"]:
                listing = statement["Action"] == ["elasticmapreduce:ListClusters"]
                assert listing or statement["Condition"], (name, statement)


@pytest.mark.parametrize("role", [False, True])
def test_policies_are_the_golden_ones(role: bool, pytestconfig: pytest.Config) -> None:
    env = environment.load("aws")
    documents = policies.documents(with_role(env) if role else env)
    folder = GOLDEN / ("aws-with-runtime-role" if role else "aws")
    if pytestconfig.getoption("--rebuild-golden"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    golden = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert documents == golden


def test_the_command_writes_a_file_a_policy(tmp_path: Path) -> None:
    assert policies.main(["--environment", "aws", "--out", str(tmp_path / "iam")]) == 0
    written = {path.stem for path in (tmp_path / "iam").glob("*.json")}
    assert written == set(policies.documents(environment.load("aws")))


def test_roots_may_have_prefixes() -> None:
    env = environment.load("aws").model_copy(update={"work": "s3://shared/team/work"})
    statements = policies.documents(env)["airflow"]["Statement"]
    resources = [resource for statement in statements for resource in statement["Resource"]]
    assert "arn:aws:s3:::shared/team/work/code/*" in resources
    assert "arn:aws:s3:::shared" in resources


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"lake": "data/lake"}, "expected s3://bucket/prefix"), ({"account": None}, "emr.account")],
)
def test_an_environment_that_has_no_policies_says_why(
    changes: dict[str, Any], complaint: str
) -> None:
    env = environment.load("aws")
    if "account" in changes:
        changes = {"emr": env.emr.model_copy(update=changes)}
    with pytest.raises(ConfigError, match=complaint):
        policies.documents(env.model_copy(update=changes))

"""The plan: what a run would ask for, where it would write, what it would cost."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
import yaml

from recommender import config, environment
from recommender.clusters import staging
from recommender.config import Recommender
from recommender.environment import Environment
from recommender.locations import join
from recsys_emr import plan as planning

DATE = dt.date(2017, 12, 31)


@pytest.fixture
def file(root: Path) -> Path:
    return root / "include" / "config" / "recommenders" / "complete_journey.yaml"


def planned(env: Environment, file: Path, champion: str | None = None) -> planning.Plan:
    recommender = config.load(str(file))
    run = planning.planned_run(env, recommender, DATE, "manual__1")
    params = planning.default_params(recommender)
    return planning.make(
        env, recommender, file, run, run_id="manual__1", params=params, champion=champion
    )


def test_the_price_is_the_sum_of_stages_between_nothing_and_the_limit(file: Path) -> None:
    plan = planned(environment.load("aws"), file)
    assert plan.expected.usd is not None
    assert plan.limit.usd is not None
    assert 0 < plan.expected.usd < plan.limit.usd
    assert plan.expected.usd == pytest.approx(sum(s.expected.usd or 0 for s in plan.stages))
    assert [(s.name, s.expected_minutes) for s in plan.stages] == [
        ("preprocess", 25),
        ("train", 45),
    ]


def test_the_requests_name_the_code_that_staging_uploads(tmp_path: Path, file: Path) -> None:
    roots = {name: str(tmp_path / name) for name in ("lake", "work", "models")}
    env = environment.load("aws").model_copy(update=roots)
    code = staging.planned(env.locations, file)
    assert not (tmp_path / "work").exists()  # planning writes nothing
    assert staging.stage(env.locations, file) == code


def test_a_plan_names_every_place_and_the_champion_that_is_compared(file: Path) -> None:
    env = environment.load("aws")
    champion = env.locations.version("complete_journey", "2017-11-30-0a1b2c3d")
    plan = planned(env, file, champion)
    evaluate = plan.stages[1].request["Steps"][1]["HadoopJarStep"]["Args"]
    assert evaluate[-2:] == ["--champion", champion]
    assert plan.paths["snapshot"] == join(env.lake, "snapshots/complete_journey/2017-12-31")
    assert all(uri.startswith("s3://example-recsys-") for uri in plan.paths.values())
    assert {"airflow", "emr-nodes", "emr-service"} <= plan.policies.keys()


def test_the_text_has_requests_policies_paths_and_price(file: Path) -> None:
    text = planned(environment.load("aws"), file).text()
    for wanted in (
        "RunJobFlow of stage preprocess",
        "IAM policy airflow",
        "champion.json",
        "in all",
    ):
        assert wanted in text


def test_what_goes_to_xcom_is_json_and_leaves_out_the_policies(file: Path) -> None:
    document = planned(environment.load("aws"), file).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert "policies" not in document


def test_a_shape_without_a_price_says_what_to_do(file: Path) -> None:
    recommender = config.load(str(file), ["clusters.train=distributed"])
    env = environment.load("aws")
    run = planning.planned_run(env, recommender, DATE, "x")
    params = planning.default_params(recommender)
    plan = planning.make(env, recommender, file, run, run_id="x", params=params, champion=None)
    assert plan.expected.usd is None
    assert "unknown price for m6g.xlarge, m7g.xlarge" in plan.text()


def command(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> int:
    (tmp_path / "recommenders").mkdir()
    document = {**yaml.safe_load(file.read_text()), **changes}
    (tmp_path / "recommenders" / "shop.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "environments").symlink_to(file.parent.parent / "environments")
    monkeypatch.setenv(environment.CONFIG_DIRECTORY_VARIABLE, str(tmp_path))
    return planning.main(["shop", "--environment", "aws", "--snapshot", "2017-12-31"])


def test_the_command_plans_offline(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody there
    assert command(tmp_path, file, monkeypatch) == 0
    assert "budget_usd: no limit" in capsys.readouterr().out


def test_the_command_fails_where_the_run_would_be_refused(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, file, monkeypatch, budget_usd=0.5) == 1
    captured = capsys.readouterr()
    assert "in all" in captured.out  # the plan is shown all the same
    assert "within budget_usd 0.5" in captured.err


def test_a_budget_is_a_positive_sum() -> None:
    with pytest.raises(ValueError, match="budget_usd"):
        Recommender(name="shop", description="x", dataset="shop", budget_usd=0)

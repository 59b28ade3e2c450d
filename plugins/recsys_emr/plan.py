"""Say what a run would do and cost before a cent is spent: ``make plan RECOMMENDER=... [DAG=recommend]``.

Shows the exact requests, the S3 paths, the IAM policies that they need, expected minutes and
expected cost. Reads configuration only; the DAG's ``plan`` task adds what it found in S3.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recommender import config, environment
from recommender.clusters import pricing, sizing, staging
from recommender.clusters.pricing import Cost
from recommender.clusters.staging import StagedCode
from recommender.config import Recommender
from recommender.environment import Environment
from recommender.errors import RecommenderError
from recommender.lake import snapshots
from recommender.locations import join, run_key
from recommender.objective import IMPLICIT, SPARK, Choice, Engine
from recommender.training import engine_choice
from recommender.training.engine_choice import Size
from recsys_emr import costs, policies, stages
from recsys_emr.job_flow import Stage, Step, run_job_flow

_DIRECTORIES = ("dataset", "quarantine", "checks", "candidate", "report", "verification")


@dataclass(frozen=True)
class StagePlan:
    """Hold what one stage would ask of EMR, and what that would cost."""

    name: str
    shape: str
    request: dict[str, Any]
    expected_minutes: float
    limit_minutes: float
    expected: Cost
    limit: Cost

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return {
            "stage": self.name,
            "shape": self.shape,
            "expected_minutes": self.expected_minutes,
            "limit_minutes": self.limit_minutes,
            "expected_usd": self.expected.usd,
            "limit_usd": self.limit.usd,
            "unknown": list(self.expected.unknown),
            "request": self.request,
        }


@dataclass(frozen=True)
class Plan:
    """Hold what a run would do, read, write and cost; ``engine`` says what fits ALS, and why."""

    stages: tuple[StagePlan, ...]
    paths: dict[str, str]
    policies: dict[str, Any]
    budget_usd: float | None
    prices_as_of: dt.date
    simulated: bool
    engine: str | None = None

    @property
    def expected(self) -> Cost:
        """Return what the whole run is expected to cost."""
        return pricing.add(stage.expected for stage in self.stages)

    @property
    def limit(self) -> Cost:
        """Return the most that it costs, every stage at its time limit and at its first attempt."""
        return pricing.add(stage.limit for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only, for XCom."""
        return {
            "expected_usd": self.expected.usd,
            "limit_usd": self.limit.usd,
            "unknown": list(self.expected.unknown),
            "budget_usd": self.budget_usd,
            "prices_as_of": self.prices_as_of.isoformat(),
            "simulated": self.simulated,
            "engine": self.engine,
            "stages": [stage.to_json() for stage in self.stages],
            "paths": self.paths,
        }

    def text(self) -> str:
        """Return the plan for a person, the price first and last."""
        return "\n".join([*self._requests(), *self._policies(), *self._paths(), *self._prices()])

    def _requests(self) -> Iterator[str]:
        for stage in self.stages:
            yield f"RunJobFlow of stage {stage.name} (shape {stage.shape})"
            yield json.dumps(stage.request, indent=2)

    def _policies(self) -> Iterator[str]:
        for name, document in self.policies.items():
            yield f"IAM policy {name}"
            yield json.dumps(document, indent=2)

    def _paths(self) -> Iterator[str]:
        yield "paths"
        for name, uri in self.paths.items():
            yield f"  {name:<12} {uri}"

    def _prices(self) -> Iterator[str]:
        if self.engine:
            yield f"engine {self.engine}"
        yield "expected cost"
        yield f"  {'stage':<12} {'expected':>9} {'limit':>9}  cost expected, and at the limit"
        for stage in self.stages:
            minutes = f"{stage.expected_minutes:>5.0f} min {stage.limit_minutes:>5.0f} min"
            yield f"  {stage.name:<12} {minutes}  {stage.expected.text}, {stage.limit.text}"
        yield f"  {'in all':<12} {'':>19}  {self.expected.text}, {self.limit.text}"
        yield f"  list prices of {self.prices_as_of}; the dearest type of every fleet; Spot as if on"
        yield "  demand; S3, data transfer, root volumes and second attempts left out"
        if self.simulated:
            yield "  the AWS of this environment is embedded: nothing would be billed"
        yield f"  budget_usd: {'no limit' if self.budget_usd is None else f'{self.budget_usd:g}'}"


def make(
    env: Environment,
    recommender: Recommender,
    config_file: Path,
    run: Mapping[str, Any],
    *,
    run_id: str,
    params: Mapping[str, Any],
    champion: str | None,
    size: Size | None = None,
) -> Plan:
    """Plan a run; the requests are those that the run itself would send.

    Only the prepared data tells which engine ``auto`` chooses, and the reason that is recorded.

    Args:
        env: the environment.
        recommender: its configuration.
        config_file: the file of that configuration, which is part of the code's hash.
        run: what ``resolve_run`` returned.
        run_id: of the DAG run.
        params: the run's Params.
        champion: directory of the version in use; None before the first.
        size: what there will be to fit; None as long as nobody knows.

    Raises:
        ConfigError: a shape, a request or the price table is wrong.
    """
    code = staging.planned(env.locations, config_file)
    engine, why = planned_engine(env, recommender, params["engine"], size)
    jobs = {
        "preprocess": (recommender.clusters.preprocess, stages.preprocess(run)),
        "train": (
            training_shape(recommender, engine),
            stages.train(run, params, champion, engine, why),
        ),
    }
    paths = _paths(env, recommender, code, run)
    plan = _plan(env, recommender, f"retrain_{recommender.name}", run_id, code, jobs, paths)
    return replace(plan, engine=why)


def make_recommend(
    env: Environment,
    recommender: Recommender,
    config_file: Path,
    run: Mapping[str, Any],
    *,
    run_id: str,
    params: Mapping[str, Any],
) -> Plan:
    """Plan a run that makes everyone's lists; arguments and errors as of ``make``."""
    code = staging.planned(env.locations, config_file)
    jobs = {"recommend": (recommender.clusters.recommend, stages.recommend(run, params))}
    paths = {
        "version": run["version_uri"],
        "dataset": run["dataset"],
        "code": code.uri,
        "lists": run["output"],
        "latest": env.locations.latest_recommendations(recommender.name),
        "logs": env.locations.emr_logs,
    }
    return _plan(env, recommender, f"recommend_{recommender.name}", run_id, code, jobs, paths)


def _plan(
    env: Environment,
    recommender: Recommender,
    dag_id: str,
    run_id: str,
    code: StagedCode,
    jobs: Mapping[str, tuple[str, Mapping[str, Any]]],
    paths: dict[str, str],
) -> Plan:
    return Plan(
        stages=tuple(
            _stage(env, shape, Stage(dag_id, run_id, name), code, job)
            for name, (shape, job) in jobs.items()
        ),
        paths=paths,
        policies=policies.documents(env),
        budget_usd=recommender.budget_usd,
        prices_as_of=pricing.load(env.emr.region).as_of,
        simulated=env.simulated,
    )


def planned_engine(
    env: Environment, recommender: Recommender, asked: Choice, size: Size | None
) -> tuple[Engine, str]:
    """Return the engine and why; without a size, ``auto`` is planned as one machine's.

    Raises:
        ConfigError: the engine asked for does not hold that much.
    """
    name = recommender.clusters.train
    machine = sizing.of_shape(name, env.shape(name))
    if size is not None:
        chosen = engine_choice.choose(asked, size, recommender.train, machine)
        engine_choice.require_measurable(chosen.engine, recommender.gate.baselines)
        return chosen.engine, chosen.why
    if asked != "auto":
        return asked, f"{asked}, asked for"
    machine = engine_choice.known(machine)
    millions = engine_choice.capacity(machine) / 1e6
    why = f"up to about {millions:,.0f} M rows fit the {machine.name}, users and items left out"
    return IMPLICIT, f"{IMPLICIT}, planned: auto chooses once the data is prepared; {why}"


def training_shape(recommender: Recommender, engine: Choice) -> str:
    """Return the shape on which an engine fits; ``auto`` is taken for one machine's."""
    shapes = recommender.clusters
    return shapes.train_distributed if engine == SPARK else shapes.train


def planned_run(
    env: Environment, recommender: Recommender, date: dt.date, run_id: str
) -> dict[str, Any]:
    """Return where a run over a snapshot reads and writes."""
    key = run_key(run_id)
    run = env.locations.run(recommender.name, date, key)
    return {
        "snapshot": date.isoformat(),
        "snapshot_uri": env.locations.snapshot(recommender.dataset, date),
        "run_key": key,
        "dataset": run.dataset,
        "quarantine": run.quarantine,
        "study": run.study,
        "setting": env.locations.setting(recommender.name),
        "checks": run.checks,
        "candidate": run.candidate,
        "report": run.report,
        "verification": run.verification,
    }


def planned_lists(env: Environment, recommender: Recommender, run_id: str) -> dict[str, Any]:
    """Return what a run that makes everyone's lists would read and write, of a champion to come."""
    key = run_key(run_id)
    return {
        "version_uri": env.locations.version(recommender.name, "CHAMPION"),
        "dataset": join(env.locations.work, "runs", recommender.name, "SNAPSHOT", "RUN", "dataset"),
        "output": env.locations.recommendation_run(recommender.name, key),
    }


def default_list_params(recommender: Recommender) -> dict[str, Any]:
    """Return the Params that decide the lists, as the trigger form offers them."""
    asked = recommender.recommend
    return {"n": asked.n, "json_lines": asked.format == "jsonl", "deny_list": asked.deny_list}


def default_params(recommender: Recommender) -> dict[str, Any]:
    """Return the Params that decide the jobs, as the trigger form offers them."""
    search = recommender.train.search
    trials = search.trials if search else None
    return {
        "k": recommender.evaluate.k,
        "search_trials": trials,
        "wide_search": False,
        "engine": recommender.train.engine,
    }


def _stage(
    env: Environment, name: str, owner: Stage, code: StagedCode, job: Mapping[str, Any]
) -> StagePlan:
    shape = env.shape(name)
    table = pricing.load(env.emr.region)
    steps = [Step(step["job"], step["arguments"]) for step in job["steps"]]
    return StagePlan(
        name=owner.name,
        shape=name,
        request=run_job_flow(env, shape, owner, code, steps),
        expected_minutes=shape.planned_minutes,
        limit_minutes=shape.minutes,
        expected=costs.expected(env, name, table),
        limit=pricing.expect(shape, shape.minutes, table),
    )


def _paths(
    env: Environment, recommender: Recommender, code: StagedCode, run: Mapping[str, Any]
) -> dict[str, str]:
    date = dt.date.fromisoformat(run["snapshot"])
    where = env.locations
    return {
        "snapshot": run["snapshot_uri"],
        "code": code.uri,
        **{name: run[name] for name in _DIRECTORIES},
        "decision": where.decision(recommender.name, date, run["run_key"]),
        "versions": where.versions(recommender.name),
        "champion": where.champion(recommender.name),
        "logs": where.emr_logs,
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the plan of a run; return the exit code, 1 if it would be refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recommender")
    parser.add_argument("--environment", default=None, help="default: RECSYS_ENVIRONMENT, or local")
    parser.add_argument("--snapshot", default=None, help="YYYY-MM-DD; default: today")
    parser.add_argument("--dag", default="retrain", choices=("retrain", "recommend"))
    parser.add_argument(
        "--size",
        nargs=3,
        type=int,
        metavar=("ROWS", "USERS", "ITEMS"),
        help="what there will be to fit, for the choice of the engine",
    )
    asked = parser.parse_args(arguments)
    try:
        file = environment.config_directory() / "recommenders" / f"{asked.recommender}.yaml"
        recommender = config.load(str(file))
        env = environment.load(asked.environment)
        if asked.dag == "recommend":
            run, params = planned_lists(env, recommender, "plan"), default_list_params(recommender)
            plan = make_recommend(env, recommender, file, run, run_id="plan", params=params)
        else:
            today = dt.datetime.now(dt.UTC).date()
            date = snapshots.parse_date(asked.snapshot) if asked.snapshot else today
            run, params = planned_run(env, recommender, date, "plan"), default_params(recommender)
            size = Size(*asked.size) if asked.size else None
            plan = make(
                env, recommender, file, run, run_id="plan", params=params, champion=None, size=size
            )
        print(plan.text())
        print(
            "made from configuration alone: a run has its own id in names and paths, and compares"
        )
        print("with the champion that it finds")
        costs.check_budget(plan.budget_usd, [], [stage.expected for stage in plan.stages])
    except RecommenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

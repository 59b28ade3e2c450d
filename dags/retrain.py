"""Retrain a recommender from a snapshot and promote it only if it deserves it.

**What happens.** A transient EMR cluster turns the raw snapshot into a clean, split dataset. A
second one, shaped for training, fits ALS and measures it beside the popularity baselines. Between
them the data is held against the previous run's: too great a difference blocks the run, and what the
champion was trained on already is not trained on again (the rest is skipped, green). The gate then
promotes the model, registers it (its snapshot is older than the champion's) or refuses it, and says
why. Every verdict leaves a green run; a red run means that something broke.

**What it costs.** `plan` logs the exact requests, the IAM policies and the expected price before
anything is created; *Plan only* ends the run there. `price` of each stage has what its cluster cost,
and the decision's record keeps it. With `budget_usd` a run that would exceed it does not go on.

**Where to look.** `gate` logs every rule with its numbers; its XCom `decision` is the record. The
submit and wait tasks have buttons to the cluster and to its logs. `read_profile` and
`read_metrics` hold the numbers, the XCom `checks` of `check_data` every comparison with the run before.
`page` has a button to the run's report: the verdict, every rule, all models, ten users before and after.

**Trying a policy out.** With `gate.mode: shadow` the gate decides and records as ever, and the run
ends in `observe`: nothing is published. With `gate.approval: true` a promotion waits for a person
(*Required Actions* in the UI, with the gate's table); a no, or no answer in time, is a refusal.

**Starting it by hand.** Leave *Snapshot* empty for the newest one. A run over an older snapshot
than the champion's never replaces the champion, unless *Allow replacing a newer champion* is on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from airflow.sdk import DAG, CronTriggerTimetable, Param, XComArg, get_current_context, task

from recommender import config, environment
from recommender.config import Recommender
from recommender.objective import Choice
from recsys_emr import approval, dag_parts, examination, pipeline, spending, telling
from recsys_emr import plan as planning
from recsys_emr.costs import Allowance
from recsys_emr.deciding import Gate, Publish
from recsys_emr.sensors import WaitForSnapshot


def retrain(settings: Recommender, config_file: Path, max_active_runs: int) -> DAG:
    """Build the DAG of one recommender."""
    with DAG(
        dag_id=f"retrain_{settings.name}",
        description=settings.description,
        doc_md=__doc__,
        schedule=timetable(settings.schedule),
        catchup=False,
        max_active_runs=max_active_runs,
        params=params(settings),
        default_args={**dag_parts.DEFAULT_ARGS, "owner": settings.owner},
        tags=["recommender", settings.dataset],
    ) as dag:

        @task
        def resolve_run() -> dict[str, Any]:
            """Decide which snapshot the run is about and where it writes."""
            return pipeline.resolve_run(settings, get_current_context())

        @task
        def stage_code() -> dict[str, str]:
            """Upload the code and the configuration under their content hash."""
            return pipeline.stage_code(str(config_file))

        @task
        def plan_preprocess(run: dict[str, Any]) -> dict[str, Any]:
            """Write down the jobs of the preprocessing cluster and what they must leave behind."""
            return pipeline.plan_preprocess(run)

        @task
        def read_profile(run: dict[str, Any]) -> dict[str, Any]:
            """Pull the data profile into XCom."""
            return pipeline.read_profile(run)

        @task(trigger_rule=dag_parts.AFTER_PRICE)
        def plan_train(run: dict[str, Any], spent: list[dict[str, Any]]) -> dict[str, Any]:
            """Choose engine and shape, hold the budget, write down the training cluster's jobs."""
            chosen = pipeline.choose_engine(settings, run, current_params())
            spending.hold_budget(settings, spent, chosen["shape"])
            return pipeline.plan_train(settings, run, current_params(), spent, chosen)

        @task
        def read_metrics(run: dict[str, Any]) -> dict[str, Any]:
            """Pull the metrics into XCom; keep the setting that a wide search has found."""
            pipeline.keep_setting(run)
            return pipeline.read_metrics(run)

        run: Any = resolve_run()  # Any: an XComArg here, the value itself when the task runs
        code: Any = stage_code()
        snapshot = WaitForSnapshot(
            task_id="wait_for_snapshot",
            run=run,
            dataset=settings.dataset,
            wait_hours=settings.snapshot_wait_hours,
            execution_timeout=None,  # the wait has its own limit
        )
        to_preprocess: Any = plan_preprocess(run)
        shapes, budget = settings.clusters, settings.budget_usd
        preprocess, paid = dag_parts.on_cluster(
            "preprocess",
            shapes.preprocess,
            code,
            to_preprocess,
            Allowance(budget, (planning.training_shape(settings, settings.train.engine),)),
        )
        profile = read_profile(run)
        checked, new = examined(settings, run, code)
        to_train: Any = plan_train(run, [paid])
        train, paid_too = dag_parts.on_cluster(
            "train", to_train["shape"], code, to_train, Allowance(budget)
        )
        metrics = read_metrics(run)
        verdict = Gate(
            task_id="gate",
            recommender=settings,
            paths=run,
            code=code,
            spent=[paid, paid_too],
            allowance=Allowance(budget),
            trigger_rule=dag_parts.AFTER_PRICE,
            execution_timeout=None,  # it may have to measure again: the shape has its own limit
        )

        planned(settings, config_file, run) >> [code, snapshot]
        snapshot >> to_preprocess
        preprocess >> profile >> checked >> new >> to_train
        train >> metrics >> verdict
        follow(settings, run, code, verdict)
        dag_parts.judge(dag)
    return dag


def examined(settings: Recommender, run: Any, code: Any) -> tuple[Any, Any]:  # noqa: ANN401 - XComArgs
    """Look at the prepared data before a cent is spent on training.

    Returns:
        The task that may block the run, and the one that may end it, green.
    """

    @task
    def check_data(run: dict[str, Any]) -> None:
        """Hold the data against the previous run's; record every check; block or go on."""
        verdict = examination.check_data(settings, run, current_params())
        get_current_context()["ti"].xcom_push("checks", verdict)
        examination.require_good_data(verdict)

    @task.short_circuit
    def is_new(run: dict[str, Any], code: dict[str, str]) -> bool:
        """End the run, green, where training would only repeat what made the champion."""
        return examination.is_new(settings, run, code, current_params())

    return check_data(run), is_new(run, code)


def follow(settings: Recommender, run: Any, code: Any, verdict: Gate) -> None:  # noqa: ANN401 - XComArgs
    """Lead from the verdict to its consequence, and tell it; in shadow mode nothing could publish."""
    asks = settings.gate.approval

    @task
    def observe(decision: dict[str, Any]) -> dict[str, Any]:
        """Say what would have been done: the gate is in shadow mode."""
        return pipeline.observe(decision)

    @task
    def refuse(decision: dict[str, Any]) -> dict[str, Any]:
        """Say why nothing is published: a normal, green end."""
        return pipeline.refuse(decision)

    decision: Any = XComArg(verdict, key="decision")
    # A teardown: it runs whatever became of the rest, and its failure is red in a green run.
    page = telling.WritePage(task_id="page", gate="gate").as_teardown()
    if settings.gate.mode == "shadow":
        verdict >> observe(decision) >> page
        return
    published = Publish(
        task_id="publish",
        recommender=settings,
        paths=run,
        code=code,
        decision=decision,
        asked="approve" if asks else None,
        allowance=Allowance(settings.budget_usd),
        trigger_rule="none_failed_min_one_success" if asks else "all_success",
        execution_timeout=None,  # as the gate's
    )
    verdict >> [published, refuse(decision)] >> page
    if asks:
        hours = settings.gate.approval_hours
        verdict >> approval.AskForApproval(task_id="approve", gate="gate", hours=hours) >> published


def planned(settings: Recommender, config_file: Path, run: Any) -> Any:  # noqa: ANN401 - XComArgs
    """Say what the run will ask for and cost, and end it here if that is all that was wanted."""

    @task.short_circuit
    def plan(run: dict[str, Any]) -> bool:
        """Log the requests, the policies and the price; hold the budget."""
        context = get_current_context()
        champion = pipeline.champion_uri(settings)
        found = spending.plan_run(settings, str(config_file), run, champion, context)
        context["ti"].xcom_push("plan", found)
        return not context["params"]["plan_only"]

    return plan(run)


def timetable(cron: str | None) -> CronTriggerTimetable | None:
    """Return the nightly timetable; the first run comes when the cron next says so.

    With a start date, or with Airflow's defaults, taking a DAG off pause would at once start a run
    for the last date gone by, whose snapshot may never come.
    """
    if cron is None:
        return None
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=False)


def current_params() -> dict[str, Any]:
    """Return the run's validated Params."""
    return dict(get_current_context()["params"])


def params(settings: Recommender) -> dict[str, Param]:
    """Return the trigger form: typed, each with its default from the configuration."""
    search = settings.train.search
    return {
        "snapshot": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Snapshot",
            description="Date of the snapshot to train on (YYYY-MM-DD). Empty: the scheduled "
            "run's own date, or the newest snapshot for a run started by hand.",
        ),
        "k": Param(
            settings.evaluate.k,
            type="integer",
            minimum=1,
            maximum=1000,
            title="K",
            description="Length of the recommended list that is measured (Recall@K).",
        ),
        "min_uplift": Param(
            settings.gate.min_relative_uplift,
            type="number",
            minimum=0,
            maximum=10,
            title="Minimum uplift",
            description="Share by which Recall@K has to beat the strongest popularity baseline "
            "(0.02 is 2 %).",
        ),
        "engine": Param(
            settings.train.engine,
            type="string",
            enum=list(get_args(Choice)),
            title="Engine",
            description="What fits ALS: implicit in the memory of one machine, spark on a cluster, "
            "auto whichever holds the data. The log of plan_train says why.",
        ),
        "search_trials": Param(
            search.trials if search else None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000,
            title="Search budget",
            description="Settings of ALS that the wide search tries on the validation window. Empty: "
            "no search, the configured setting is fitted.",
        ),
        "wide_search": Param(
            False,
            type="boolean",
            title="Search widely",
            description="Search the whole space again, even if the setting kept from the last wide "
            "search serves. Runs in between only look around that setting.",
        ),
        "allow_replace_newer": Param(
            False,
            type="boolean",
            title="Allow replacing a newer champion",
            description="Promote even though the champion comes from a newer snapshot.",
        ),
        "accept_data": Param(
            None,
            type=["null", "string"],
            minLength=3,
            title="Accept the data",
            description="Why the data is right although a check blocks it; the run then goes on, "
            "and the reason is recorded. Empty: a block stops the run.",
        ),
        "retrain_identical": Param(
            False,
            type="boolean",
            title="Retrain identical data",
            description="Train even though data, code and settings are those of the champion.",
        ),
        "plan_only": dag_parts.plan_only(),
    }


for file in environment.recommender_files():
    retrain(config.load(str(file)), file, environment.load().max_active_runs)

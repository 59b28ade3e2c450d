"""Load a recommender's configuration: typed, frozen, unknown keys refused.

One YAML file per recommender (``include/config/recommenders``). A value is overridden with
``--set section.key=value`` on a job's command line; the value is parsed as YAML.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from recommender import storage
from recommender.checks import Limits
from recommender.errors import ConfigError, NotFoundError
from recommender.gate import Policy
from recommender.objective import IMPLICIT, SPARK, Als, Choice, Engine, refusals
from recommender.settings import Settings

__all__ = ["Als", "Engine", "Recommender", "Search", "Settings", "Train", "load", "parse"]

Model = TypeVar("Model", bound=BaseModel)
Format = Literal["auto", "amazon_2014", "amazon_2018", "amazon_2023", "events"]
Contender = Literal[
    "popularity",
    "popularity_recent",
    "popularity_decayed",
    "item_cosine",
    "item_bm25",
    "association_rules",
    "content",
]


class Preprocess(Settings):
    """Say how raw lines become a dataset."""

    format: Format = "auto"
    """Raw format; ``auto`` detects it from the first parseable lines."""

    engine: Literal["auto", "spark", "duckdb"] = "auto"
    """What does the work, with the same result: Spark, or DuckDB on one machine (the cluster's
    primary), which needs no session to start and reads small data six times as fast. ``auto`` takes
    DuckDB, or Spark to read and DuckDB or Spark for the rest, by size."""

    duckdb_up_to_gib: float = Field(default=16.0, gt=0)
    """``engine: auto`` takes DuckDB up to this much raw text, gzip counted tenfold."""

    duckdb_up_to_lines: int = Field(default=200_000_000, ge=0)
    """``engine: auto``: what Spark has read is worked on by DuckDB, on the primary, up to this many lines."""

    bad_line_budget: float = Field(default=0.01, ge=0, le=1)
    """Share of unreadable lines above which the run stops before training."""

    verified_confidence: float = Field(default=2.0, gt=0)
    """Confidence of a verified purchase; an unverified review has 1."""

    min_user_interactions: int = Field(default=5, ge=1)
    """Users with fewer distinct items before the test window are dropped, repeatedly with items."""

    min_item_interactions: int = Field(default=5, ge=1)
    """Items with fewer distinct users before the test window are dropped, repeatedly with users."""

    holdout_days: int = Field(default=28, ge=1)
    """Length of the test window: the last days of the snapshot."""

    validation_days: int = Field(default=28, ge=1)
    """Length of the validation window: the days before the test window."""


class Search(Settings):
    """Bound the search for ALS settings on the validation window.

    Pairs are the ends of a log-uniform range; lists are alternatives. The wide search looks at all
    of it; the runs in between look around the setting that it has found.
    """

    trials: int = Field(default=24, ge=1, le=1000)
    """Fits of the wide search; the first is always the setting in ``Als``."""

    minutes: float = Field(default=30, gt=0)
    """Start no further batch of ``parallel`` trials after this many minutes of an attempt. It is a brake:
    a search that it stops depends on the machine's speed, so leave ``trials`` the bound."""

    parallel: int = Field(default=4, ge=1, le=64)
    """Trials proposed together and run side by side, as far as there are cores. Fewer learn more from
    each other, more finish sooner; each holds factors and lists of its own."""

    alpha: tuple[float, float] = (2.0, 60.0)
    """Weight of a positive with confidence 1 (unobserved pairs weigh 1)."""

    penalty: tuple[float, float] = (2.5, 15.0)
    """Regularization divided by alpha. Only directions of the data whose singular value exceeds it
    are learnt, so good settings lie along one such ratio rather than at one regularization."""

    factors: tuple[int, ...] = (32, 64)
    """Lengths of the factor vectors to try."""

    half_life_days: tuple[float | None, ...] = (None,)
    """Ages at which an interaction's confidence has halved; null keeps old ones at full weight."""

    max_iterations: int = Field(default=15, ge=1)
    """Longest fit of a trial; the best iteration on the validation window is kept."""

    prune_below: float = Field(default=0.97, ge=0, le=1)
    """Give a trial up whose recall is below this share of the best one's. Most end after two
    iterations then, and 24 trials cost four to nine plain trainings."""

    every_days: float = Field(default=7, ge=0)
    """Search widely again once the kept setting is this old; 0 searches widely in every run."""

    local_trials: int = Field(default=4, ge=1, le=1000)
    """Fits of the search around the kept setting; the first is that setting itself."""

    local_span: float = Field(default=1.5, ge=1)
    """Factor by which that search may leave the kept alpha and regularization, up and down."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Search:
        for name in ("alpha", "penalty"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                message = f"{name}: expected 0 < low <= high, found [{low}, {high}]"
                raise ValueError(message)
        return self


class Rules(Settings):
    """Bound the association rules between pairs of items."""

    min_support: float = Field(default=0.01, gt=0, le=1)
    """Smallest share of the users that have both items."""

    min_confidence: float = Field(default=0.05, ge=0, le=1)
    """Smallest share of the users of the first item that have the second, too."""


class Train(Settings):
    """Say how models are fitted."""

    seed: int = 42
    """Seed of the factors' start and of the search."""

    threads: int = Field(default=0, ge=0)
    """Threads of the fit; 0 takes every core. BLAS always has one."""

    recent_days: int = Field(default=28, ge=1)
    """Window of the recent-popularity baseline, back from the end of its training rows."""

    popularity_half_life_days: float = Field(default=28.0, gt=0)
    """Age at which a user of an item counts half in the decayed popularity."""

    neighbours: int = Field(default=100, ge=1)
    """Neighbours of an item that the item-item, rules and content models keep."""

    rules: Rules = Rules()

    contenders: tuple[Contender, ...] = (
        "popularity",
        "popularity_recent",
        "popularity_decayed",
        "item_cosine",
        "item_bm25",
        "association_rules",
        "content",
    )
    """Models that are fitted and measured beside ALS each night; ``popularity`` has to be one, as
    unknown users get it. ``gate.baselines`` names those that ALS must beat."""

    engine: Choice = IMPLICIT
    """What fits ALS: ``implicit`` in the memory of one machine; ``spark`` on a cluster, for what does
    not fit there; ``auto`` chooses between them by the size of the data."""

    als: Als = Als()
    """The setting of ``implicit`` to start from, or to use as it is when ``search`` is null; but a fit that
    goes on from the champion's factors has ``warm_iterations`` in place of its ``iterations``."""

    distributed: Als = Als(regularization=1.0, frequency_exponent=1.0)
    """The setting of ``spark``: its penalty grows with a row, so it needs one of its own.
    The default is of a sweep on two data sets (docs/engines.md)."""

    warm_iterations: int = Field(default=2, ge=0)
    """Iterations of the final fit when it starts from the champion's factors; 0 always starts anew."""

    search: Search | None = Search()
    """The search on the validation window; null fits ``als`` unsearched."""

    @model_validator(mode="after")
    def _engines_can_minimise(self) -> Train:
        sections: dict[str, tuple[Engine, Als]] = {
            "als": (IMPLICIT, self.als),
            "distributed": (SPARK, self.distributed),
        }
        wrong = [f"{key}.{text}" for key, of in sections.items() for text in refusals(*of)]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _contenders_hold_popularity(self) -> Train:
        if "popularity" not in self.contenders or len(set(self.contenders)) < len(self.contenders):
            message = (
                "contenders: expected different models, popularity among them (unknown users get "
                f"it), found {list(self.contenders)}"
            )
            raise ValueError(message)
        return self


class Evaluate(Settings):
    """Say how models are measured on the test window."""

    k: int = Field(default=20, ge=1, le=1000)
    """Length of the recommended list."""

    filter_seen: bool = True
    """Leave out items that the user already has."""

    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of the users for the confidence intervals."""

    interval: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the confidence intervals."""

    seed: int = 42
    """Seed of the bootstrap."""


class Serve(Settings):
    """Limit what serving one process's model may take; measured before anything is published.

    The defaults stop what is broken, not what is slow: a list of 20 out of 20,000 items takes well
    below a millisecond. Set them to what your service promises.
    """

    max_p99_ms: float = Field(default=250, gt=0)
    """99th percentile of the time of one user's list, one thread."""

    max_load_seconds: float = Field(default=300, gt=0)
    """From the first byte fetched until the first question can be answered."""

    max_memory_mb: float = Field(default=16_384, gt=0)
    """Peak memory of the process that serves, files mapped into memory included."""


class Recommend(Settings):
    """Say what the batch recommendations hold."""

    n: int = Field(default=20, ge=1, le=1000)
    """Length of every list."""

    format: Literal["parquet", "jsonl"] = "parquet"
    """Parquet has one row an item of a list, JSON Lines one line a list."""

    deny_list: str | None = None
    """Text file with the ids of items never to be recommended, one a line (``s3://`` or a path);
    that it is missing is an error. Null denies nothing."""


class Clusters(Settings):
    """Name the environment's cluster shape for each stage."""

    preprocess: str = "preprocessing"
    train: str = "single_node"
    train_distributed: str = "distributed"
    """For ``train.engine: spark``."""

    recommend: str = "single_node"


class Recommender(Settings):
    """Hold everything that one recommender's runs need beside the environment."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Part of the DAG id (``retrain_<name>``) and of every path."""

    description: str
    """One sentence for the Airflow UI."""

    owner: str = "recommendations"
    """Shown in the Airflow UI and tagged on the clusters."""

    dataset: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    """Folder of the lake that holds the dated snapshots."""

    schedule: str | None = "0 2 * * *"
    """Cron in UTC; the snapshot of a scheduled run is the one of its logical date."""

    snapshot_wait_hours: float = Field(default=6, gt=0)
    """How long a scheduled run waits for its snapshot to land."""

    budget_usd: float | None = Field(default=None, gt=0)
    """Most that the clusters of one run may cost: expected before the first, and with what the
    first has cost before the next. A price that is not known refuses too. Null: no limit."""

    preprocess: Preprocess = Preprocess()
    checks: Limits = Limits()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    serve: Serve = Serve()
    recommend: Recommend = Recommend()
    gate: Policy = Policy()
    clusters: Clusters = Clusters()

    @model_validator(mode="after")
    def _baselines_are_fitted(self) -> Recommender:
        absent = [name for name in self.gate.baselines if name not in self.train.contenders]
        if absent:
            message = (
                f"gate.baselines: expected models of train.contenders, found {', '.join(absent)}: "
                "no run would measure it, and every candidate would be refused"
            )
            raise ValueError(message)
        return self


def load(uri: str, overrides: Iterable[str] = ()) -> Recommender:
    """Read a recommender's YAML and apply ``section.key=value`` overrides.

    Raises:
        ConfigError: names the file, the key, what was expected and the nearest known key.
    """
    try:
        document = yaml.safe_load(storage.read(uri).data)
    except NotFoundError as error:
        message = f"expected a recommender's configuration at {uri}, found nothing"
        raise ConfigError(message) from error
    except yaml.YAMLError as error:
        message = f"{uri} is not YAML: {error}"
        raise ConfigError(message) from error
    if not isinstance(document, dict):
        message = f"{uri}: expected a mapping of settings, found {type(document).__name__}"
        raise ConfigError(message)
    for override in overrides:
        _apply(document, override)
    return parse(Recommender, document, uri)


def parse(model: type[Model], document: object, source: str) -> Model:
    """Validate a document; the error lists every wrong key with its remedy, one a line.

    Raises:
        ConfigError: something in the document is unknown, missing or out of range.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = [_explain(model, dict(detail)) for detail in error.errors()]
        message = f"{source} is not a valid {model.__name__.lower()} configuration:\n" + "\n".join(
            lines
        )
        raise ConfigError(message) from error


def _explain(model: type[BaseModel], detail: dict[str, Any]) -> str:
    *sections, key = detail["loc"] or ("",)
    dotted = ".".join(str(part) for part in detail["loc"])
    if detail["type"] not in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"  {dotted}: {detail['msg']} (found {detail['input']!r})"
    known = _known_fields(model, tuple(sections))
    near = difflib.get_close_matches(str(key), known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"  {dotted}: unknown key; {remedy}"


def _apply(document: dict[str, Any], override: str) -> None:
    """Set one dotted key of a nested mapping; the value is YAML, so ``null`` and lists work."""
    path, equals, text = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not key:
        message = f"expected section.key=value, found {override!r}"
        raise ConfigError(message)
    inner: Any = document
    for section in sections:
        inner = inner.setdefault(section, {})
        if not isinstance(inner, dict):
            message = f"{override!r}: {section} holds one value, not a section"
            raise ConfigError(message)
    try:
        inner[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = f"expected a YAML value in {override!r}, found none: {error}"
        raise ConfigError(message) from error


def _known_fields(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    inner: Any = model
    for part in path:
        field = inner.model_fields.get(str(part)) if hasattr(inner, "model_fields") else None
        options = [field.annotation, *get_args(field.annotation)] if field else []
        inner = next((o for o in options if hasattr(o, "model_fields") or is_dataclass(o)), None)
    if is_dataclass(inner):
        return [item.name for item in fields(inner)]
    return list(getattr(inner, "model_fields", ()))

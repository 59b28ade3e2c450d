"""Choose the engine that fits: one machine's memory decides, before its cluster is asked for.

Light: Airflow's workers import it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recommender import config
from recommender.clusters.sizing import GIB, SERIES_GIB, Machine
from recommender.columns import POPULARITY_MODELS
from recommender.errors import ConfigError
from recommender.objective import AUTO, IMPLICIT, SPARK, Choice, Engine

# A pair in CSR takes a 4-byte column and a 4-byte weight; ALS holds the matrix by user and by item.
_PAIR_BYTES = 2 * (4 + 4)
_ROW_BYTES = 8  # where a user's or an item's pairs begin
_FACTOR_BYTES = 4
_START_PAIR_BYTES = 12  # the weights by user, and their columns by item, while directions are found
_SPARE = 8  # directions beyond the factors, of spectral_start
# What a training takes at most, in matrix plus factors; and what Python and the libraries take.
PEAK = 1.5
_LIBRARIES = GIB // 2
# Interactions per second, core and iteration at 64 factors, measured (benchmarks/engines.py); the
# cost of a pair grows with the factors to this power.
_PAIRS_A_SECOND, _POWER = 1.3e6, 0.75


@dataclass(frozen=True)
class Size:
    """Say how much there is to fit.

    Attributes:
        rows: pairs of user and item.
        users: rows of the matrix.
        items: its columns.
    """

    rows: int
    users: int
    items: int


@dataclass(frozen=True)
class Chosen:
    """Hold the engine of a run, and why.

    Attributes:
        engine: what fits.
        why: a sentence for the log, the record and the report.
        needed_gib: what one machine would need.
        machine_gib: what it has; None where that is not known.
    """

    engine: Engine
    why: str
    needed_gib: float
    machine_gib: float | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return asdict(self)


def size_of(profile: Mapping[str, Any]) -> Size:
    """Return the size of the final fit from a dataset's profile."""
    windows = profile["windows"]
    rows = int(windows["train"]["rows"]) + int(windows["validation"]["rows"])
    return Size(rows, int(profile["users"]), int(profile["items"]))


def needed(size: Size, factors: int) -> int:
    """Return the bytes that a fit in the memory of one machine takes at its peak."""
    rows = size.users + size.items
    matrix = size.rows * _PAIR_BYTES + rows * _ROW_BYTES
    # While the start is found, the weights lie beside two sets of directions: more than the fit where
    # rows are short.
    finding = size.rows * _START_PAIR_BYTES + 2 * directions(size, factors)
    fitting = PEAK * (matrix + rows * factors * _FACTOR_BYTES)
    return int(max(fitting, finding)) + _LIBRARIES


def directions(size: Size, factors: int) -> int:
    """Return the bytes of the start that a search keeps for each half-life, beside its trials."""
    return (size.users + size.items) * (factors + _SPARE) * _FACTOR_BYTES


def half_lives(search: config.Search, als: config.Als) -> int:
    """Return for how many half-lives a search keeps a start."""
    return len({*search.half_life_days, als.half_life_days})


def capacity(machine: Machine) -> int:
    """Return how many rows fit a machine, users and items left out."""
    return max(0, int((machine.memory - _LIBRARIES) / (PEAK * _PAIR_BYTES)))


def choose(asked: Choice, size: Size, settings: config.Train, machine: Machine | None) -> Chosen:
    """Choose among the engines; the longest factors that the search tries count.

    Only memory speaks for ``spark``: per core and iteration it is an order of magnitude slower.

    Args:
        asked: an engine, or ``auto``.
        size: of the final fit.
        settings: of the training.
        machine: on which one machine's engine would run; None where its memory is not known.

    Raises:
        ConfigError: ``implicit`` was asked for and does not fit, or ``auto`` and nobody knows.
    """
    factors = max(settings.als.factors, *(settings.search.factors if settings.search else (1,)))
    need = needed(size, factors)
    if settings.search is not None:
        need += half_lives(settings.search, settings.als) * directions(size, factors)
    if machine is None:
        engine = _unmeasured(asked)
        return Chosen(engine, f"{engine}, asked for", round(need / GIB, 2), None)
    numbers = (
        f"{size.rows:,} rows of {size.users:,} users and {size.items:,} items at {factors} factors "
        f"take about {need / GIB:.1f} GiB, and the {machine.name} has {machine.memory / GIB:.1f} GiB"
    )
    fits = need <= machine.memory
    if asked == IMPLICIT and not fits:
        message = (
            f"train.engine {IMPLICIT}: {numbers}; set train.engine to {AUTO} or {SPARK}, take a "
            "larger machine, or fewer factors"
        )
        raise ConfigError(message)
    if asked == "auto":
        engine, reason = (IMPLICIT if fits else SPARK), "chosen by size"
    else:
        engine, reason = asked, "asked for"
    why = f"{engine}, {reason}: {numbers}"
    if engine == SPARK and settings.search is not None:
        why += "; train.search is skipped, train.distributed is fitted as it is"
    if engine == IMPLICIT:
        minutes = seconds(size, settings, factors, machine.cores) / 60
        lasting = f"at most about {minutes:.0f} minutes" if minutes >= 1 else "less than a minute"
        why += f"; fits of {lasting} in all"
    return Chosen(engine, why, round(need / GIB, 2), round(machine.memory / GIB, 2))


def require_measurable(engine: Engine, baselines: Sequence[str]) -> None:
    """Refuse an engine under which the gate's baselines would not be there.

    Raises:
        ConfigError: a baseline is not fitted beside ``spark``: every candidate would be refused.
    """
    absent = [name for name in baselines if name not in POPULARITY_MODELS]
    if engine == SPARK and absent:
        message = (
            f"gate.baselines: engine {SPARK} fits {', '.join(POPULARITY_MODELS)}, found "
            f"{', '.join(absent)}: every candidate would be refused; leave it out"
        )
        raise ConfigError(message)


def known(machine: Machine | None) -> Machine:
    """Return a machine whose memory ``auto`` can count on.

    Raises:
        ConfigError: it is not known.
    """
    if machine is None:
        message = (
            f"train.engine {AUTO}: expected instance types of the series {', '.join(SERIES_GIB)}, whose "
            "memory is known, in the primary fleet of clusters.train, found another: name the "
            "engine, or take other types"
        )
        raise ConfigError(message)
    return machine


def _unmeasured(asked: Choice) -> Engine:
    if asked == AUTO:
        known(None)
    return SPARK if asked == SPARK else IMPLICIT


def seconds(size: Size, settings: config.Train, factors: int, cores: int) -> float:
    """Estimate how long all fits of a training take at most, search included: most trials end early."""
    search = settings.search
    trials = search.trials * search.max_iterations if search else 0
    speed: float = _PAIRS_A_SECOND * (64 / factors) ** _POWER * cores
    searching = min(size.rows * trials / speed, 60 * search.minutes) if search else 0.0
    return searching + size.rows * settings.als.iterations / speed

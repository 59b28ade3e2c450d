"""State what ALS minimises, once for every engine, and refuse what an engine cannot minimise.

    sum over observed (u, i)    alpha * r_ui * (1 - x_u . y_i)^2
  + sum over all other pairs    unobserved * (x_u . y_i)^2
  + regularization * (sum_u n_u^frequency_exponent |x_u|^2 + sum_i n_i^frequency_exponent |y_i|^2)

r_ui is the confidence, weighed by age and by the user's rows (see ``weighting``), n the number of
interactions of a user or an item. Each engine translates this into its own parameters, which differ
under the same names: docs/engines.md has the table. Light: Airflow's workers import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from recommender.settings import Settings

Engine = Literal["implicit", "spark"]
Choice = Literal["implicit", "spark", "auto"]
IMPLICIT: Engine = "implicit"
SPARK: Engine = "spark"
AUTO: Choice = "auto"


class Als(Settings):
    """Set one ALS fit: the objective, the length of the factors and of the fit."""

    factors: int = Field(default=64, ge=1)
    """Length of a user's and an item's vector."""

    alpha: float = Field(default=10.0, gt=0)
    """Weight of a positive with confidence 1, in the same unit as ``unobserved``."""

    unobserved: float = Field(default=1.0, gt=0)
    """Weight of a pair without an interaction. Only its ratio to ``alpha`` and ``regularization``
    counts: all three doubled is the same objective."""

    regularization: float = Field(default=100.0, ge=0)
    """L2 penalty of a factor row, multiplied by (interactions of the row) ** frequency_exponent."""

    frequency_exponent: float = Field(default=0.0, ge=0, le=1)
    """0 penalises every row alike, 1 in proportion to its interactions (ALS-WR). A regularization
    found at one exponent says nothing about another."""

    iterations: int = Field(default=8, ge=1)
    """Half-steps for users and items together count as one."""

    half_life_days: float | None = Field(default=None, gt=0)
    """Age at which an interaction's confidence has halved; null keeps old ones at full weight."""

    user_balance: float = Field(default=0.0, ge=0, le=1)
    """Counterweight of heavy users: confidence is multiplied by (rows of the user / median) ** -this.

    The loss adds up over interactions, the metrics over users: without it the heaviest users shape
    the factors for all. 0 is plain ALS, 1 gives every user the same total. Validation recall against
    0: groceries +1 to +6 % at 0.2 to 0.4 over three windows, musical instruments +2 % at 0.2 and
    -1 % at 0.4.
    """


@dataclass(frozen=True)
class Limits:
    """Say what an engine can minimise and do.

    Attributes:
        frequency_exponent: the only one that it has.
        light_positives: whether a positive may weigh less than an unobserved pair.
        weighs_rows: whether confidence is weighed by age and by the user's rows.
        warm_start: whether a fit can go on from given factors.
        every_iteration: whether the factors can be looked at between iterations: early stopping
            and pruning need it.
    """

    frequency_exponent: float
    light_positives: bool
    weighs_rows: bool
    warm_start: bool
    every_iteration: bool


LIMITS: dict[Engine, Limits] = {
    IMPLICIT: Limits(0.0, True, True, True, True),
    # pyspark.ml takes alpha * |r| + 1 for the weight and r <= 0 for "not liked": nothing below 1.
    SPARK: Limits(1.0, False, False, False, False),
}


def refusals(engine: Engine, als: Als) -> list[str]:
    """Say, a sentence each, what of an objective an engine cannot minimise; [] when it can.

    Each sentence has the key, what was expected, what was found and the way out.
    """
    limits, found = LIMITS[engine], []
    if als.frequency_exponent != limits.frequency_exponent:
        found.append(
            f"frequency_exponent: engine {engine} has {limits.frequency_exponent:g} only, found "
            f"{als.frequency_exponent:g}; set it to that and search regularization anew"
        )
    if not limits.light_positives and als.alpha <= als.unobserved:
        found.append(
            f"alpha: engine {engine} expects more than unobserved ({als.unobserved:g}), found "
            f"{als.alpha:g}; raise alpha"
        )
    if not limits.weighs_rows and als.half_life_days is not None:
        found.append(
            f"half_life_days: engine {engine} has no weight below that of an unobserved pair, to "
            f"which an old interaction falls: expected null, found {als.half_life_days:g}"
        )
    if not limits.weighs_rows and als.user_balance:
        found.append(
            f"user_balance: engine {engine} has no weight below that of an unobserved pair, to "
            f"which a heavy user's fall: expected 0, found {als.user_balance:g}"
        )
    return found

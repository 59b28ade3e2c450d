"""Hold what a recommender asks of a candidate; a setting out of range is refused at once."""

from __future__ import annotations

from dataclasses import dataclass

CANDIDATE = "als"
CHAMPION = "champion"


@dataclass(frozen=True)
class Policy:
    """Set what a candidate must show before it is promoted."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own protocol, no field

    min_relative_uplift: float = 0.02
    """Recall@K over the strongest popularity baseline, as a share of the baseline's."""

    champion_tolerance: float = 0.01
    """Share of the champion's Recall@K that the candidate may fall short of it."""

    min_users: int = 100
    """Users measured; fewer say little."""

    min_held_out: int = 500
    """Held-out interactions measured."""

    min_coverage: float = 0.01
    """Share of the catalogue that appears in some user's list."""

    baselines: tuple[str, ...] = ("popularity", "popularity_recent")
    """Models of the report of which the candidate must beat the strongest."""

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ValueError: names the setting, the range and what was found.
        """
        # Ten times the baseline is beyond any real uplift: 20 for "20 %" is a slip of the unit.
        _check_share("min_relative_uplift", self.min_relative_uplift, 10.0)
        _check_share("champion_tolerance", self.champion_tolerance, 1.0)
        _check_share("min_coverage", self.min_coverage, 1.0)
        _check_count("min_users", self.min_users)
        _check_count("min_held_out", self.min_held_out)
        _check_baselines(self.baselines)


def _check_share(name: str, value: float, ceiling: float) -> None:
    # A bool is an int in Python; True is no share. NaN is in no range.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 <= value <= ceiling):
        message = f"{name}: expected a number from 0 to {ceiling:g} (0.02 is 2 %), found {value!r}"
        raise ValueError(message)


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = f"{name}: expected a whole number of 1 or more, found {value!r}"
        raise ValueError(message)


def _check_baselines(names: object) -> None:
    if not isinstance(names, tuple) or not all(isinstance(n, str) and n.strip() for n in names):
        message = f"baselines: expected a list of model names, found {names!r}"
        raise ValueError(message)
    # An empty list would promote anything; the candidate as its own baseline, nothing.
    if not names or len(set(names)) != len(names) or {CANDIDATE, CHAMPION} & set(names):
        message = (
            f"baselines: expected one or more different models other than {CANDIDATE!r} and "
            f"{CHAMPION!r}, found {list(names)}"
        )
        raise ValueError(message)

"""Decide whether a candidate may replace the champion. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


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

"""Say what every ALS engine takes and gives.

An engine gets rows, the canonical objective (``recommender.objective``) and how to run it; it
translates the objective into its own parameters, exactly, and gives factors back with the course of
the fit. Row n of the factors belongs to index n of the dataset's id tables, which the candidate
holds beside them. What an engine cannot minimise never reaches it: the configuration refuses it.

Engines of one machine take ``Interactions`` and give ``Factors``. An engine that is distributed takes
``StoredRows`` and gives ``StoredFactors``: nothing of the size of users, items or rows passes through
the driver.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from recommender import objective
from recommender.objective import Als


class Factors(NamedTuple):
    """Hold factors in memory; as a start of a fit, a row of NaN is drawn anew.

    Attributes:
        users: (users, factors) float32, C-contiguous.
        items: (items, factors) float32, C-contiguous.
    """

    users: npt.NDArray[np.float32]
    items: npt.NDArray[np.float32]


class StoredRows(NamedTuple):
    """Name rows in Parquet: columns user, item (int32), confidence (float32).

    Attributes:
        uris: directories; a pair that is in several counts once, with the strongest confidence.
        shape: (users, items) of the whole index.
    """

    uris: tuple[str, ...]
    shape: tuple[int, int]


class StoredFactors(NamedTuple):
    """Name factors in sharded Parquet: columns index (int32) and factors (list of float32).

    Attributes:
        users: directory of the users' shards.
        items: directory of the items' shards.
    """

    users: str
    items: str


R = TypeVar("R", Factors, StoredFactors)
D_contra = TypeVar("D_contra", contravariant=True)

OnIteration = Callable[[int, R], bool]
"""Is told the iterations done, from 1, and the factors there; returns whether to go on."""


class Run(NamedTuple):
    """Say how a fit runs, which changes nothing of what it minimises.

    Attributes:
        seed: of the random start.
        threads: 0 takes every core.
        keep_losses: whether to compute the loss after every iteration.
    """

    seed: int = 42
    threads: int = 0
    keep_losses: bool = False


class Step(NamedTuple):
    """Hold one iteration of a fit.

    Attributes:
        seconds: since the fit began.
        loss: the engine's own, if it was asked for and the engine has one.
    """

    seconds: float
    loss: float | None


@dataclass(frozen=True)
class Fitted(Generic[R]):
    """Hold what a fit gave.

    Attributes:
        factors: by index.
        curve: one step an iteration; empty where the engine shows none.
        seconds: of the whole fit.
        peak_bytes: most memory that the process has had so far, children left out.
    """

    factors: R
    curve: tuple[Step, ...]
    seconds: float
    peak_bytes: int


class Engine(Protocol[D_contra, R]):
    """Minimise the canonical objective over rows of type D, giving factors of type R."""

    @property
    def name(self) -> objective.Engine:
        """Return the name that the configuration calls it by."""

    def fit(
        self,
        rows: D_contra,
        als: Als,
        run: Run,
        *,
        start: R | None = None,
        on_iteration: OnIteration[R] | None = None,
    ) -> Fitted[R]:
        """Fit from a seeded random start, or from given factors if the engine's limits allow.

        Args:
            rows: what was observed.
            als: the objective; ``objective.refusals`` has nothing to say about it.
            run: how to run.
            start: factors to go on from, of the objective's length; the fit may write into their arrays.
            on_iteration: called after every iteration, if the engine's limits allow. Returning
                False ends the fit there, with exactly the factors of a fit of that many iterations.

        Raises:
            BadDataError: the rows or the factors that they give are not finite.
        """


def peak_bytes() -> int:
    """Return the most resident memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

"""Hold what a recommender asks of a candidate; a setting out of range is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CANDIDATE = "als"
CHAMPION = "champion"
Mode = Literal["enforce", "shadow"]
Action = Literal["off", "warn", "refuse"]


@dataclass(frozen=True)
class Policy:
    """Set what a candidate must show before it is promoted."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own protocol, no field

    mode: Mode = "enforce"
    """``shadow`` decides and records as ever, and nothing is published: for trying a policy out."""

    min_relative_uplift: float = 0.02
    """Recall@K over the strongest declared baseline, as a share of the baseline's."""

    champion_tolerance: float = 0.01
    """Share of the champion's Recall@K that the candidate may fall short of it, for certain or not."""

    champion_doubt: float = 0.0
    """The same as long as the paired interval holds zero, for example 0.05: of two equal models the one
    measured lower is not worse. Beyond it nothing is excused. Below ``champion_tolerance``, as by
    default, it has no effect: what is allowed in doubt may be lost night after night."""

    champion_margin: float | None = None
    """Null: as good as the champion is enough, which lets a refit on newer data replace it. A number
    asks for better: Recall@K above the champion's by this share, and the paired interval above 0."""

    min_users: int = 100
    """Users measured; fewer say little."""

    min_held_out: int = 500
    """Held-out interactions measured."""

    min_coverage: float = 0.01
    """Share of the catalogue that appears in some user's list."""

    max_cohort_drop: float | None = 0.1
    """Share of Recall@K that light, medium or heavy users may lose against the champion (against the
    strongest baseline before the first), if the loss is beyond two standard errors. Cohorts below
    ``min_users`` are not judged. Null: no rule."""

    max_item_drop: float | None = 0.25
    """The same for head and tail items, against the champion only. Groups with fewer held-out rows
    than ``min_held_out`` are not judged. Null: no rule."""

    min_overlap: float = 0.1
    """Share of the champion's lists that the candidate's keep: below, users meet another shop."""

    max_overlap: float = 1.0
    """The same from above: lists that hardly change are hardly worth a release."""

    overlap_action: Action = "warn"
    """What an overlap out of bounds does: nothing, a warning in the record, or a refusal."""

    stable_windows: int = 1
    """Newest windows in a row, this one included, that have to be won against the strongest
    baseline. Earlier ones are read from the decisions on older snapshots; one missing refuses."""

    approval: bool = False
    """Ask a person in the Airflow UI before a promotion, once every rule has passed."""

    approval_hours: float = 24.0
    """How long to wait for the answer; silence is a refusal."""

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
        _check_share("champion_doubt", self.champion_doubt, 1.0)
        _check_share("min_coverage", self.min_coverage, 1.0)
        _check_share("min_overlap", self.min_overlap, 1.0)
        _check_share("max_overlap", self.max_overlap, 1.0)
        for name, ceiling in _OPTIONAL.items():
            if getattr(self, name) is not None:
                _check_share(name, getattr(self, name), ceiling)
        _check_count("min_users", self.min_users)
        _check_count("min_held_out", self.min_held_out)
        _check_count("stable_windows", self.stable_windows)
        _check_choice("mode", self.mode, get_args(Mode))
        _check_choice("overlap_action", self.overlap_action, get_args(Action))
        _check_approval(self.approval, self.approval_hours)
        if self.min_overlap > self.max_overlap:
            message = f"min_overlap {self.min_overlap:g} is above max_overlap {self.max_overlap:g}"
            raise ValueError(message)
        _check_baselines(self.baselines)


# A setting that may be null, and its highest value.
_OPTIONAL = {"champion_margin": 10.0, "max_cohort_drop": 1.0, "max_item_drop": 1.0}


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


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        message = f"{name}: expected one of {', '.join(choices)}, found {value!r}"
        raise ValueError(message)


def _check_approval(approval: object, hours: float) -> None:
    if approval is not True and approval is not False:
        message = f"approval: expected true or false, found {approval!r}"
        raise ValueError(message)
    # A month: beyond it the snapshot is stale anyway. NaN is in no range.
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= 744:
        message = f"approval_hours: expected more than 0 and at most 744 hours, found {hours!r}"
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

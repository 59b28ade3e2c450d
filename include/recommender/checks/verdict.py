"""Come to one verdict over all checks and keep it with everything that led to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from recommender.checks.limits import Limits
from recommender.checks.measures import MalformedProfileError, Measures, read_measures
from recommender.checks.rules import RULES, Check, check

FORMAT = 1
Outcome = Literal["passed", "warned", "accepted", "blocked"]


@dataclass(frozen=True)
class Previous:
    """Say which run this one is compared with.

    Attributes:
        snapshot: date of its snapshot.
        run_key: its key.
        profile_uri: where its profile is.
        profile: the parsed profile.
    """

    snapshot: dt.date
    run_key: str
    profile_uri: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Hold the outcome of all checks; ``to_json`` and ``from_json`` lose nothing.

    Attributes:
        recommender: name of the recommender.
        snapshot: date of the snapshot.
        run_key: the run that was checked.
        checked_at: ISO 8601, UTC.
        outcome: ``passed``, ``warned`` (go on, but look), ``blocked`` (do not train), or
            ``accepted`` (would be blocked, but a person has said why not).
        reason: the outcome in one sentence.
        accepted: the person's reason; None unless one was given.
        compared_with: snapshot, run key and profile of the previous run; None for the first.
        checks: in the order of ``RULES``.
        limits: the ranges that were asked.
    """

    recommender: str
    snapshot: str
    run_key: str
    checked_at: str
    outcome: Outcome
    reason: str
    accepted: str | None
    compared_with: Mapping[str, str] | None
    checks: tuple[Check, ...]
    limits: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored: JSON values only."""
        checks = [one.to_json() for one in self.checks]
        limits = {name: list(value) for name, value in self.limits.items()}
        return {**asdict(self), "format": FORMAT, "checks": checks, "limits": limits}

    @classmethod
    def from_json(cls, document: Any) -> Verdict:  # noqa: ANN401 - read from outside
        """Parse a stored document.

        Raises:
            ValueError: it is of another format or malformed.
        """
        try:
            return cls._parse(dict(document))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            message = f"this is not a record of data checks: {error!r}"
            raise ValueError(message) from error

    @classmethod
    def _parse(cls, values: dict[str, Any]) -> Verdict:
        form, outcome = values.pop("format"), values["outcome"]
        if form != FORMAT or outcome not in get_args(Outcome):
            message = f"format {form!r}, outcome {outcome!r}"
            raise ValueError(message)
        values["checks"] = tuple(map(Check.from_json, values["checks"]))
        values["limits"] = {name: tuple(x) for name, x in values["limits"].items()}
        return cls(**values)

    def of(self, result: str) -> tuple[Check, ...]:
        """Return the checks with one result."""
        return tuple(one for one in self.checks if one.result == result)

    def table(self) -> str:
        """Return the checks as text, one a line, what is worst first, then the reason."""
        order = ("block", "warn", "pass", "not_compared")
        lines = [
            f"{'-' if result == 'not_compared' else result:<6} {one.name:<16} {one.sentence}"
            for result in order
            for one in self.of(result)
        ]
        return "\n".join([*lines, f"{self.outcome}: {self.reason}"])


def judge(
    recommender: str,
    snapshot: dt.date,
    run_key: str,
    profile: object,
    previous: Previous | None,
    limits: Limits,
    *,
    accepted: str | None,
    checked_at: dt.datetime,
) -> Verdict:
    """Judge a dataset by its profile and the previous run's; the same input gives the same verdict.

    Args:
        recommender: name of the recommender.
        snapshot: date of the snapshot.
        run_key: of this run.
        profile: the parsed ``profile.json`` of this run.
        previous: the run to compare with; None when there is none. A profile of it that lacks
            what is compared (an older version wrote it) counts as none.
        limits: the ranges.
        accepted: why a person lets the run go on although a check blocks it; None otherwise.
        checked_at: the moment, with a time zone.

    Raises:
        MalformedProfileError: this run's profile cannot be read.
    """
    now = read_measures(profile, snapshot)
    before = _measures(previous)
    checks = tuple(check(name, now, before, limits) for name in RULES)
    reason_given = (accepted or "").strip() or None
    outcome, reason = _outcome(checks, previous if before else None, reason_given)
    return Verdict(
        recommender=recommender,
        snapshot=snapshot.isoformat(),
        run_key=run_key,
        checked_at=checked_at.astimezone(dt.UTC).isoformat(),
        outcome=outcome,
        reason=reason,
        accepted=reason_given,
        compared_with=_name(previous) if previous and before else None,
        checks=checks,
        limits=asdict(limits),
    )


def _measures(previous: Previous | None) -> Measures | None:
    if previous is None:
        return None
    try:
        return read_measures(previous.profile, previous.snapshot)
    except MalformedProfileError:
        return None


def _name(previous: Previous) -> dict[str, str]:
    return {
        "snapshot": previous.snapshot.isoformat(),
        "run_key": previous.run_key,
        "profile": previous.profile_uri,
    }


def _outcome(
    checks: tuple[Check, ...], previous: Previous | None, accepted: str | None
) -> tuple[Outcome, str]:
    blocked = [one.sentence for one in checks if one.result == "block"]
    warned = [one.sentence for one in checks if one.result == "warn"]
    if blocked and accepted:
        return "accepted", f"accepted by hand ({accepted}) in spite of: {'; '.join(blocked)}"
    if blocked:
        return "blocked", "; ".join(blocked)
    if warned:
        return "warned", "; ".join(warned)
    if previous is None:
        return "passed", "no previous run to compare with"
    return "passed", f"like the data of {previous.snapshot} within all limits"

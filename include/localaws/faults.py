"""Keep the rules that are set, decide whose turn it is, and count what struck.

Off by default. Set with ``POST /_localaws/faults`` or ``LOCALAWS_FAULTS``; see `fault_rules`.
"""

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from localaws.emr_documents import ClusterDocument, Json
from localaws.emr_instances import wanted_capacity
from localaws.fault_rules import ApiRule, Match, Rule

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1  # between two looks at what may end a hold

Kind = TypeVar("Kind", bound=Rule)


@dataclass(frozen=True)
class Target:
    """What a fault might strike: a request, or a moment of a cluster's life.

    Attributes:
        service, operation: of a request; empty otherwise.
        cluster: the cluster's name, empty when there is none.
        tags: its tags.
        capacity: what it buys, as (market, instance types).
        step: the step's name.
        bucket, key: of an S3 request.
    """

    service: str = ""
    operation: str = ""
    cluster: str = ""
    tags: Json = field(default_factory=dict)
    capacity: tuple[tuple[str, frozenset[str]], ...] = ()
    step: str = ""
    bucket: str = ""
    key: str = ""


def moment_of(cluster: ClusterDocument, step: str = "") -> Target:
    """Return a moment of a cluster's life as a target."""
    return Target(
        cluster=cluster.request["Name"],
        tags=dict(cluster.tags),
        capacity=wanted_capacity(cluster.request),
        step=step,
    )


@dataclass
class _Armed:
    number: int
    rule: Rule
    seen: int = 0
    fired: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def strikes(self) -> bool:
        """Count a matching occasion; tell whether the rule strikes at it."""
        self.seen += 1
        if self.seen <= self.rule.after or self.spent:
            return False
        # Drawn at each occasion, so that the pattern depends on the seed alone.
        if self.chance.random() >= self.rule.probability:
            return False
        self.fired += 1
        return True

    @property
    def spent(self) -> bool:
        return self.rule.times is not None and self.fired >= self.rule.times

    def report(self) -> Json:
        """Return the rule as it was set, with its counters."""
        fields = self.rule.model_dump(mode="json", exclude_unset=True)
        return {"id": self.number, **fields, "seen": self.seen, "fired": self.fired}


class Faults:
    """All rules of one embedded AWS; safe to use from many threads."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._armed: dict[int, _Armed] = {}
        self.add(rules)

    def __bool__(self) -> bool:
        """Tell whether any rule is set: without one, nothing else is asked."""
        return bool(self._armed)

    def add(self, rules: Iterable[Rule]) -> None:
        """Set further rules; earlier ones come first."""
        with self._changed:
            for rule in rules:
                number = next(self._numbers)
                chance = random.Random(rule.seed)  # noqa: S311  (repeatable, not secret)
                self._armed[number] = _Armed(number, rule, chance=chance)
                logger.warning("fault %d set: %s", number, rule)

    def remove(self, number: int | None = None) -> bool:
        """Remove one rule, or (None) all; False when there is no such rule. Ends delays of theirs."""
        with self._changed:
            if number is None:
                self._armed.clear()
            elif self._armed.pop(number, None) is None:
                return False
            self._changed.notify_all()
            return True

    def report(self) -> list[Json]:
        """Return the rules with their counters, in the order in which they were set."""
        with self._changed:
            return [armed.report() for armed in self._armed.values()]

    def take(self, kind: type[Kind], target: Target) -> Kind | None:
        """Return the first rule of a kind that strikes this target now; it counts as fired."""
        with self._changed:
            for armed in self._armed.values():
                rule = armed.rule
                if isinstance(rule, kind) and matches(rule, target) and armed.strikes():
                    logger.warning("fault %d (%s) strikes %s", armed.number, rule, target)
                    return rule
            return None

    def hold(self, rule: Rule, seconds: float, stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait as long as a rule says, until it is removed, or until `stopped`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (
                self._is_set(rule) and not stopped() and (left := deadline - time.monotonic()) > 0
            ):
                self._changed.wait(min(left, _LOOK_SECONDS))

    def _is_set(self, rule: Rule) -> bool:
        return any(armed.rule is rule for armed in self._armed.values())


def matches(rule: Rule, target: Target) -> bool:
    """Tell whether a rule is about this target."""
    if isinstance(rule, ApiRule) and not (
        rule.service == target.service
        and any(fnmatchcase(target.operation, pattern) for pattern in rule.operations)
    ):
        return False
    match = rule.match
    return (
        fnmatchcase(target.cluster, match.cluster)
        and all(fnmatchcase(_text(target.tags.get(k)), v) for k, v in match.tags.items())
        and target.tags.keys() >= match.tags.keys()
        and _buys(match, target)
        and fnmatchcase(target.step, match.step)
        and fnmatchcase(target.bucket, match.bucket)
        and target.key.startswith(match.key)
    )


def _buys(match: Match, target: Target) -> bool:
    if match.instance_type == "*" and match.market is None:
        return True
    return any(
        match.market in {None, market}
        and types
        and all(fnmatchcase(name, match.instance_type) for name in types)
        for market, types in target.capacity
    )


def _text(value: Any) -> str:  # noqa: ANN401  (a tag as it was sent)
    return "" if value is None else str(value)

"""Interrupt what changes the registry at every single S3 call, and look what is left.

Four ways: the call *fails* without effect; its *answer is lost* after the effect; the answer is
lost and the client *sends* the request *twice*; the process is *killed* right after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from registry_store import NAME, make_run, promote, request

from recommender import manifest, registry, storage
from recommender.errors import RecommenderError
from recommender.locations import Locations
from recommender.registry import changes, pointer, retention
from recommender.registry.retention import Policy

Mode = Literal["fails", "answer lost", "sent twice", "killed"]
MODES: tuple[Mode, ...] = ("fails", "answer lost", "sent twice", "killed")
MUTATING = {"PutObject", "CopyObject", "DeleteObject", "DeleteObjects"}


class KilledError(Exception):
    """The process is gone: from now on no call has an effect."""


class Calls:
    """Count the calls that reach S3, one at a time, and let something happen at one of them."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        mode: Mode = "fails",
        at: int = -1,
        die: Callable[[], None] = lambda: None,
    ) -> None:
        self._die = die
        self.names: list[str] = []
        self._mode, self._at, self._dead = mode, at, False
        self._lock = threading.RLock()  # copies run in threads, whose order may not matter here
        self._real = BaseClient._make_api_call  # type: ignore[attr-defined]
        patch.setattr(BaseClient, "_make_api_call", self._wrapped())

    def _wrapped(self) -> Callable[..., Any]:
        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            with self._lock:
                return self._call(client, operation, parameters)

        return call

    def _call(self, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if self._dead:
            raise KilledError
        mine = len(self.names)
        self.names.append(operation)
        if mine != self._at:
            return self._real(client, operation, parameters)
        if self._mode == "fails":
            error = {"Error": {"Code": "InternalError", "Message": "injected"}}
            raise ClientError(error, operation)  # type: ignore[arg-type]  # the stub wants all keys
        try:
            self._real(client, operation, parameters)
            if self._mode == "sent twice":
                if hasattr(parameters.get("Body"), "seek"):
                    parameters["Body"].seek(0)
                return self._real(client, operation, parameters)
        except ClientError:
            if self._mode == "sent twice":
                raise
            # A refusal is an answer that can be lost as well.
        if self._mode == "killed":
            self._dead = True
            self._die()
            raise KilledError
        raise ReadTimeoutError(endpoint_url="https://s3")


@dataclass(frozen=True)
class Scenario:
    """One change of the registry, ready to be made in a store that ``prepare`` has filled.

    Attributes:
        name: what it is.
        act: makes the change; repeatable.
        before: the champion before; None for none.
        after: the champion it leads to; None: the version is known once the change has been made.
        lost: versions that may be gone afterwards.
    """

    name: str
    act: Callable[[], Any]
    before: str | None
    after: str | None
    lost: frozenset[str] = frozenset()


def first_publication(locations: Locations) -> Scenario:
    case = make_run(locations, "2017-12-31", "new")
    decision = case.decide(locations)
    return Scenario("first publication", lambda: case.publish(locations, decision), None, None)


def replacement(locations: Locations) -> Scenario:
    old = promote(locations, "2017-11-30", "old")
    case = make_run(locations, "2017-12-31", "new")
    decision = case.decide(locations)
    return Scenario("publication", lambda: case.publish(locations, decision), old, None)


def promotion(locations: Locations) -> Scenario:
    old = promote(locations, "2017-11-30", "old")
    new = promote(locations, "2017-12-31", "new")
    act = lambda: changes.promote(locations, request(), old)  # noqa: E731
    return Scenario("promotion by hand", act, new, old)


def rollback(locations: Locations) -> Scenario:
    old = promote(locations, "2017-11-30", "old")
    new = promote(locations, "2017-12-31", "new")
    act = lambda: changes.roll_back(locations, request(), leave=new)  # noqa: E731
    return Scenario("rollback", act, new, old)


def pruning(locations: Locations) -> Scenario:
    champions = [promote(locations, date, date) for date in ("2017-11-30", "2017-12-31")]
    older = promote(locations, "2017-10-31", "registered")
    policy = Policy(last=1, champions=2)
    act = lambda: retention.prune(locations, request(), policy)  # noqa: E731
    return Scenario("prune", act, champions[-1], champions[-1], frozenset({older}))


SCENARIOS = (first_publication, replacement, promotion, rollback, pruning)


def contents(root: str) -> dict[str, bytes]:
    """Read a whole store, to put it back later."""
    return {file.uri: storage.read(file.uri).data for file in storage.list_files(root)}


def restore(root: str, wanted: dict[str, bytes]) -> None:
    """Make a store what it was."""
    found = contents(root)
    for uri in found.keys() - wanted.keys():
        storage.delete(uri)
    for uri, data in wanted.items():
        if found.get(uri) != data:
            storage.write(uri, data)


def whole_versions(locations: Locations) -> set[str]:
    """Return the versions a reader would trust, each verified in full."""
    found = set()
    for name in storage.list_children(locations.versions(NAME)):
        if storage.exists(f"{locations.version(NAME, name)}/manifest.json"):
            manifest.verify(locations.version(NAME, name), "version")
            found.add(name)
    return found


def check_reader(locations: Locations, scenario: Scenario, after: str) -> None:
    """A reader gets the old champion or the new one, every file verified; the history agrees."""
    found = registry.load_champion(locations, NAME)
    champion = found[0].version if found else None
    assert champion in {scenario.before, after}
    records = pointer.history(locations, NAME)
    assert (records[-1].version if records else None) == champion


def check_finished(locations: Locations, after: str, versions: set[str]) -> None:
    """The change has been made, and all versions that should be there are whole."""
    champion = registry.load_champion(locations, NAME)
    assert champion is not None
    assert champion[0].version == after
    assert whole_versions(locations) == versions


def in_process(act: Callable[[], Any], mode: Mode, at: int) -> None:
    """Interrupt an action here; a kill is played: no later call has an effect."""
    with pytest.MonkeyPatch.context() as patch:
        Calls(patch, mode, at)
        try:
            act()
        except (KilledError, RecommenderError):
            return
    # Nobody noticed: the answer was not needed, or the second one said the same.
    assert mode != "killed"


def try_points(
    locations: Locations,
    build: Callable[[Locations], Scenario],
    mode: Mode,
    *,
    reads: bool,
    interrupt: Callable[[Callable[[], Any], Mode, int], None] = in_process,
) -> Iterator[str]:
    """Interrupt a scenario at each of its S3 calls; yield the name of every call tried.

    Args:
        locations: of an empty store.
        build: fills the store.
        mode: what happens at the call.
        reads: whether to interrupt calls that change nothing as well.
        interrupt: runs an action that meets its fate at a call.
    """
    scenario = build(locations)
    root = locations.models.rsplit("/", 1)[0]
    start, had = contents(root), whole_versions(locations)
    names = count(scenario)
    final = registry.load_champion(locations, NAME)
    assert final is not None
    after = scenario.after or final[0].version
    check_finished(locations, after, (had | {after}) - scenario.lost)
    records = len(pointer.history(locations, NAME))
    for at in chosen(names, reads=reads):
        restore(root, start)
        interrupt(scenario.act, mode, at)
        check_reader(locations, scenario, after)
        scenario.act()
        check_finished(locations, after, (had | {after}) - scenario.lost)
        # A prune that is finished by another one has two records; every other change has one.
        assert len(pointer.history(locations, NAME)) - records in {0, 1 if scenario.lost else 0}
        yield names[at]


def count(scenario: Scenario) -> list[str]:
    """Make the change undisturbed; return its S3 calls."""
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch)
        scenario.act()
    return calls.names


def chosen(names: list[str], *, reads: bool) -> Iterable[int]:
    return [n for n, name in enumerate(names) if reads or name in MUTATING]

"""Hold the small records around a decision: what is judged, the champion, a rule's outcome."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class StageCost:
    """Say what the cluster of one stage has cost.

    Attributes:
        stage: name of the stage.
        usd: list price in US dollars; None when a price is not known.
        instance_hours: billed hours of all instances.
        unknown: instance types without a price.
        prices_as_of: date of the price table, ISO 8601.
        simulated: whether an embedded AWS played the cluster: nothing was billed.
        clusters: ids of the stage's clusters, one an attempt; none in records of before they were kept.
    """

    stage: str
    usd: float | None
    instance_hours: float
    unknown: tuple[str, ...]
    prices_as_of: str
    simulated: bool
    clusters: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        lists = {"unknown": list(self.unknown), "clusters": list(self.clusters)}
        return {**asdict(self), **lists}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StageCost:
        """Parse a stored document; a missing or unknown key raises TypeError or KeyError."""
        lists = {
            "unknown": tuple(document["unknown"]),
            "clusters": tuple(document.get("clusters", ())),
        }
        return cls(**{**document, **lists})


@dataclass(frozen=True)
class Window:
    """Say how the newest decision on an older snapshot went.

    Attributes:
        snapshot: date of that snapshot, ISO 8601.
        run_key: the run that was decided on last; empty when there is no readable record.
        won: whether it beat its strongest baseline at this K: by the uplift asked then, and with
            certainty.
        note: the outcome in words.
    """

    snapshot: str
    run_key: str
    won: bool
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Window:
        """Parse a stored document; a missing or unknown key raises TypeError."""
        return cls(**document)


@dataclass(frozen=True)
class Answer:
    """Hold what a person said to a promotion, or that nobody said anything.

    Attributes:
        approved: whether the promotion may go on.
        by: who answered; None when the time ran out.
        at: when, ISO 8601 in UTC.
    """

    approved: bool
    by: str | None
    at: str

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Answer:
        """Parse a stored document; a missing or unknown key raises TypeError."""
        return cls(**document)


@dataclass(frozen=True)
class Attempt:
    """Say what is being judged.

    Attributes:
        recommender: name of the recommender.
        snapshot: date of the data the candidate was trained and measured on.
        run_key: the run that made it (``locations.run_key``).
        k: length of the lists that the configuration asks for.
        decided_at: the moment of the decision, with a time zone; given, so that the same input
            gives the same decision.
        allow_replace_newer: whether an older snapshot may replace a newer champion.
        costs: what the run's clusters have cost, by stage; no rule reads it.
        history: the decisions on the newest older snapshots, the newest first; as many as the
            policy's ``stable_windows`` asks beside this one, fewer if there are no more.
    """

    recommender: str
    snapshot: dt.date
    run_key: str
    k: int
    decided_at: dt.datetime
    allow_replace_newer: bool = False
    costs: tuple[StageCost, ...] = ()
    history: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a time without a zone: it would mean another moment on another machine."""
        if self.decided_at.tzinfo is None:
            message = f"decided_at: expected a time with a zone, found {self.decided_at}"
            raise ValueError(message)


@dataclass(frozen=True)
class Change:
    """Say who wrote a record of the pointer, when and why.

    Attributes:
        action: ``promotion`` (the gate's), ``manual``, ``rollback``, or ``prune`` (the champion
            stays; versions are about to be deleted).
        by: the gate, or who asked for it.
        at: when, ISO 8601 in UTC; of a promotion, the moment of the decision.
        reason: why, in one sentence.
        versions: what a prune deletes.
    """

    action: str
    by: str
    at: str
    reason: str
    versions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return {**asdict(self), "versions": list(self.versions)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Change:
        """Parse a stored document; a missing or unknown key raises TypeError."""
        return cls(**{**document, "versions": tuple(document.get("versions", ()))})


@dataclass(frozen=True)
class ChampionRef:
    """Point at the version in use: the content of ``champion.json``.

    Attributes:
        version: id of the version.
        snapshot: date of the data it was trained and measured on.
        uri: directory of the version.
        manifest_sha256: SHA-256 of the version's ``manifest.json``, lower-case hex.
        run_key: the run that made it.
        decided_at: when it was made champion, ISO 8601 in UTC.
        previous: the version that it replaced; None for the first.
        sequence: number of the record, from 1: each write of the pointer adds one.
        previous_sha256: SHA-256 of the record before, so that the history is a chain.
        change: who wrote the record and why; None in records of before this was kept.
        withdrawn: keys of runs whose versions were rolled back: no retry promotes them again.
    """

    version: str
    snapshot: dt.date
    uri: str
    manifest_sha256: str
    run_key: str
    decided_at: str
    previous: str | None
    sequence: int = 1
    previous_sha256: str | None = None
    change: Change | None = None
    withdrawn: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        document = {**asdict(self), "format": FORMAT, "snapshot": self.snapshot.isoformat()}
        change = self.change.to_json() if self.change else None
        return {**document, "change": change, "withdrawn": list(self.withdrawn)}

    @classmethod
    def from_json(cls, document: Any) -> ChampionRef:  # noqa: ANN401 - read from outside
        """Parse a stored document.

        Raises:
            ValueError: it is of another format or malformed.
        """
        try:
            values = dict(document)
            found = values.pop("format")
            change, withdrawn = values.pop("change", None), values.pop("withdrawn", ())
            snapshot = dt.date.fromisoformat(values.pop("snapshot"))
            champion = cls(
                snapshot=snapshot,
                change=None if change is None else Change.from_json(change),
                withdrawn=tuple(withdrawn),
                **values,
            )
        except (KeyError, TypeError, ValueError) as error:
            message = f"this is not a champion record: {error!r}"
            raise ValueError(message) from error
        wrong = _wrong_types(champion)
        if found != FORMAT or wrong:
            message = (
                f"this is not a champion record: expected format {FORMAT} and text everywhere, "
                f"found format {found!r} and other values in {wrong}"
            )
            raise ValueError(message)
        return champion


def _wrong_types(champion: ChampionRef) -> list[str]:
    """Name the fields of a parsed record that hold another type than declared."""
    values = dict(vars(champion))
    sequence, change = values.pop("sequence"), values.pop("change")
    lists = {"withdrawn": values.pop("withdrawn")}
    del values["snapshot"]
    if change:
        values |= {f"change.{name}": value for name, value in vars(change).items()}
        lists["change.versions"] = values.pop("change.versions")
    for name, entries in lists.items():
        values |= {f"{name}[{n}]": value for n, value in enumerate(entries)}
    optional = {"previous", "previous_sha256"}
    wrong = [
        n
        for n, v in values.items()
        if not isinstance(v, str) and (v, n in optional) != (None, True)
    ]
    if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence < 1:
        wrong.append("sequence")
    return wrong


@dataclass(frozen=True)
class Rule:
    """State the outcome of one rule.

    Attributes:
        name: the rule.
        threshold: what the policy asks; None where the rule has no number.
        measured: what the report shows; None where nothing could be measured.
        passed: whether the rule is met.
        sentence: the outcome in words, numbers included.
        quality: whether a failure refuses the candidate. The one rule without it (the order of
            snapshots) only keeps the champion in place.
        advisory: whether a failure is a warning for the reader, and changes nothing.
    """

    name: str
    threshold: float | str | None
    measured: float | str | None
    passed: bool
    sentence: str
    quality: bool = True
    advisory: bool = False

    @property
    def result(self) -> str:
        """Return the outcome in one word: pass, FAIL (refuses), hold (registers) or warn."""
        if self.passed:
            return "pass"
        return "warn" if self.advisory else "FAIL" if self.quality else "hold"

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Rule:
        """Parse a stored document; a missing or unknown key raises TypeError."""
        return cls(**document)

"""Judge what came of loading the candidate and asking it again: the last look before it is served."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recommender.gate.document import MalformedReportError, Node, refuse, refuse_unstorable
from recommender.gate.evidence import Evidence
from recommender.gate.records import Rule

SERVES = "serves_as_measured"


@dataclass(frozen=True)
class Verification:
    """Hold what the gate uses of ``verification.json``.

    Attributes:
        candidate_sha256: SHA-256 of the manifest of the candidate that was loaded.
        users: how many were asked.
        p99_ms: 99th percentile of one user's list, in milliseconds.
        load_seconds: from the first byte fetched to the first answer possible.
        memory_mb: peak memory of the process.
        findings: one sentence for everything that speaks against serving it.
    """

    candidate_sha256: str
    users: int
    p99_ms: float
    load_seconds: float
    memory_mb: float
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document that is stored."""
        return {**asdict(self), "findings": list(self.findings)}

    @classmethod
    def from_json(cls, document: object) -> Verification:
        """Read a stored verification strictly.

        Raises:
            ValueError: something is missing, of another type, or contradictory.
        """
        try:
            refuse_unstorable(document)
            return cls._parse(Node(document, ""))
        except MalformedReportError as error:
            message = f"this is not a verification: {error}"
            raise ValueError(message) from error

    @classmethod
    def _parse(cls, root: Node) -> Verification:
        findings = tuple(entry.text() for entry in root["findings"].entries())
        if root.has("passed") and root["passed"].flag() == bool(findings):
            refuse(f"passed is {root['passed'].value}, with {len(findings)} findings")
        return cls(
            candidate_sha256=root["candidate_sha256"].text(),
            users=root["users"].count(),
            p99_ms=root["p99_ms"].number(0, float("inf")),
            load_seconds=root["load_seconds"].number(0, float("inf")),
            memory_mb=root["memory_mb"].number(0, float("inf")),
            findings=findings,
        )


def serves_as_measured(evidence: Evidence, verification: Verification) -> Rule:
    """Ask that the loaded candidate gives the measured lists within the limits of serving."""
    asked, loaded = evidence.candidate_sha256, verification.candidate_sha256
    if loaded != asked:
        sentence = f"The candidate {loaded[:12]} was loaded and asked, {asked[:12]} was measured."
        return Rule(SERVES, None, None, False, sentence)
    sentence = " ".join(verification.findings) or (
        f"Loaded again, it gives {verification.users:,} users the measured lists: 99 % of answers "
        f"within {verification.p99_ms:,.3g} ms, {verification.memory_mb:,.0f} MB of memory."
    )
    return Rule(SERVES, None, verification.p99_ms, not verification.findings, sentence)

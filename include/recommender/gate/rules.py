"""Apply one rule of the gate at a time: evidence and policy in, an outcome in plain words out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from recommender.gate.evidence import Evidence
from recommender.gate.policy import CANDIDATE, CHAMPION, Policy
from recommender.gate.records import Attempt, ChampionRef, Rule

REPORT = "report_well_formed"
USERS = "enough_users"
HELD_OUT = "enough_held_out"
UPLIFT = "beats_baseline"
CERTAINTY = "gain_is_certain"
HOLDS = "holds_against_champion"
COVERAGE = "covers_catalogue"
ORDER = "snapshot_in_order"

WIN = (UPLIFT, CERTAINTY)
"""A window is won when these rules pass."""

Standing = Literal["no champion", "better", "as good", "worse"]

# 0.051 over 0.05 is 0.0199999999999999 in floating point and still the 2 % that was asked.
ROUNDING = 1e-9


def unmeasured(
    why: str, policy: Policy, guardrails: Mapping[str, float | None]
) -> tuple[Rule, ...]:
    """Fail every quality rule of a report that cannot be trusted; ``why`` is its first fault."""
    sentence = "Not measured, because the report cannot be trusted."
    thresholds: dict[str, float | None] = {
        USERS: policy.min_users,
        HELD_OUT: policy.min_held_out,
        UPLIFT: policy.min_relative_uplift,
        CERTAINTY: 0.0,
        HOLDS: None,
        COVERAGE: policy.min_coverage,
        **guardrails,
    }
    first = Rule(REPORT, None, None, False, f"The report cannot be trusted: {why}.")
    return first, *(Rule(name, t, None, False, sentence) for name, t in thresholds.items())


def well_formed(evidence: Evidence) -> Rule:
    """State that the report was read: ``read_evidence`` has refused every other one."""
    return Rule(
        REPORT,
        None,
        None,
        True,
        f"The report is complete and consistent: {len(evidence.recall)} models, lists of "
        f"{evidence.k} items.",
    )


def enough_users(evidence: Evidence, policy: Policy) -> Rule:
    """Ask for enough measured users: an average over few is an anecdote."""
    found, asked = evidence.users, policy.min_users
    sentence = f"{found:,} users were measured; at least {asked:,} are asked."
    return Rule(USERS, asked, found, found >= asked, sentence)


def enough_held_out(evidence: Evidence, policy: Policy) -> Rule:
    """Ask for enough held-out interactions."""
    found, asked = evidence.held_out, policy.min_held_out
    sentence = f"{found:,} held-out interactions were measured; at least {asked:,} are asked."
    return Rule(HELD_OUT, asked, found, found >= asked, sentence)


def strongest_baseline(evidence: Evidence, policy: Policy) -> str:
    """Return the declared baseline with the highest recall; the first declared of equals."""
    return max(policy.baselines, key=lambda name: evidence.recall[name])


def beats_baseline(evidence: Evidence, policy: Policy) -> Rule:
    """Ask for the relative uplift: recall(candidate) / recall(strongest baseline) - 1."""
    name = strongest_baseline(evidence, policy)
    mine, other = evidence.recall[CANDIDATE], evidence.recall[name]
    asked = policy.min_relative_uplift
    if other == 0:
        # Nothing to divide by: any hit is more, and no hit at all is no gain.
        sentence = f"No baseline found any held-out item; Recall@{evidence.k} is {mine:.4g}."
        return Rule(UPLIFT, asked, None, mine > 0, sentence)
    uplift = (mine - other) / other
    sentence = (
        f"Recall@{evidence.k} is {mine:.4g}, {abs(uplift):.1%} {'above' if uplift >= 0 else 'below'} "
        f"the strongest baseline ({name}, {other:.4g}); at least {asked:.1%} above is asked."
    )
    return Rule(UPLIFT, asked, uplift, uplift >= asked - ROUNDING, sentence)


def gain_is_certain(evidence: Evidence, policy: Policy) -> Rule:
    """Ask that the bootstrap interval of the gain over the strongest baseline excludes zero."""
    name = strongest_baseline(evidence, policy)
    low, high = evidence.gains[name].ci_low, evidence.gains[name].ci_high
    passed = low > 0
    meaning = "it is a loss" if high < 0 else "it may be chance"
    sentence = (
        f"The gain over {name} lies between {low:+.4g} and {high:+.4g}: "
        f"{'chance alone does not explain it' if passed else meaning}."
    )
    return Rule(CERTAINTY, 0.0, low, passed, sentence)


def standing(evidence: Evidence) -> Standing:
    """Say how the candidate stands to the champion: the paired interval decides, not the means.

    ``better`` and ``worse`` need an interval without zero; everything else, an exact copy too, is
    ``as good``.
    """
    if evidence.champion is None:
        return "no champion"
    gain = evidence.gains[CHAMPION]
    return "better" if gain.ci_low > 0 else "worse" if gain.ci_high < 0 else "as good"


def is_excused(evidence: Evidence, attempt: Attempt, champion: ChampionRef | None) -> bool:
    """Tell whether the champion's numbers count for nothing.

    A champion that was trained on some of the held-out rows knows part of the answers. Falling
    short of it proves nothing, so it does not count where the pointer cannot move by itself: on an
    older snapshot, or when an operator forces the replacement. On a newer snapshot (the windows
    were changed between the runs) it still counts, because there the champion would be replaced.

    Nor do the numbers of a champion that a newer snapshot's has replaced meanwhile.
    """
    if champion is None:
        return False
    older = attempt.snapshot < champion.snapshot
    if older and not attempt.allow_replace_newer and _moved(evidence, attempt, champion):
        return True
    return evidence.champion_saw_held_out and (attempt.allow_replace_newer or older)


def is_stale(evidence: Evidence, attempt: Attempt, champion: ChampionRef | None) -> bool:
    """Tell whether the report has to be measured again, because it is not about this champion.

    Not so that of an older snapshot, which cannot replace the champion whatever it shows.
    """
    excused = is_excused(evidence, attempt, champion)
    return _moved(evidence, attempt, champion) is not None and not excused


def holds_against_champion(
    evidence: Evidence, policy: Policy, attempt: Attempt, champion: ChampionRef | None
) -> Rule:
    """Ask that the candidate is as good as the champion, scored on the same held-out rows.

    How far it may fall short depends on whether the paired interval leaves room for chance. With
    ``champion_margin`` it has to be better: by the margin, and with certainty.
    """
    if moved := _moved(evidence, attempt, champion):
        if is_stale(evidence, attempt, champion):
            return Rule(HOLDS, None, None, False, f"{moved}: run again.")
        sentence = (
            f"{moved}, of a newer snapshot, which stays: this one only has to beat the baselines."
        )
        return Rule(HOLDS, None, None, True, sentence)
    if champion is None or evidence.champion is None:
        sentence = "There is no champion yet: the baselines alone decide."
        if champion is not None:
            sentence = f"The champion {champion.version} is this very run's, the first of all."
        return Rule(HOLDS, None, None, True, sentence)
    mine, theirs = evidence.recall[CANDIDATE], evidence.recall[CHAMPION]
    margin = policy.champion_margin
    floor = theirs * (1 - _tolerated(evidence, policy) if margin is None else 1 + margin)
    holds = mine >= floor - ROUNDING and (margin is None or standing(evidence) == "better")
    excused = is_excused(evidence, attempt, champion)
    sentence = (
        f"Recall@{evidence.k} is {mine:.4g}, the champion's ({evidence.champion}) on the same rows "
        f"{theirs:.4g}; at least {floor:.4g}{'' if margin is None else ', and with certainty,'} is "
        f"asked: {_in_words(evidence, holds=holds)}"
    )
    sentence += _flattery(evidence, holds=holds, excused=excused)
    return Rule(HOLDS, floor, mine, holds or excused, sentence)


def _tolerated(evidence: Evidence, policy: Policy) -> float:
    """Return the share that the candidate may fall short: more where that may be chance."""
    if standing(evidence) == "worse":
        return policy.champion_tolerance
    return max(policy.champion_tolerance, policy.champion_doubt)


def _in_words(evidence: Evidence, *, holds: bool) -> str:
    """Say how the candidate stands to the champion, with the interval that says so."""
    gain = evidence.gains[CHAMPION]
    words = {
        "better": "better than the champion",
        "as good": "as good as the champion, not better" if holds else "short, which may be chance",
        "worse": "worse than the champion",
    }[standing(evidence)]
    return f"{words}, the difference lies between {gain.ci_low:+.4g} and {gain.ci_high:+.4g}"


def covers_catalogue(evidence: Evidence, policy: Policy) -> Rule:
    """Ask that the lists show more of the catalogue than a handful of items."""
    found, asked = evidence.coverage, policy.min_coverage
    sentence = f"The lists show {found:.1%} of the catalogue; at least {asked:.1%} is asked."
    return Rule(COVERAGE, asked, found, found >= asked - ROUNDING, sentence)


def in_order(attempt: Attempt, champion: ChampionRef | None) -> Rule:
    """Ask that the snapshot is not older than the champion's; the same date may replace it.

    Not a rule of quality: a failure publishes the version and leaves the champion in place.
    """
    mine = attempt.snapshot.isoformat()
    if champion is None:
        sentence = f"Snapshot {mine} is the first to be decided on."
        return Rule(ORDER, None, mine, True, sentence, quality=False)
    theirs = champion.snapshot.isoformat()
    if attempt.snapshot >= champion.snapshot:
        sentence = f"Snapshot {mine} is not older than the champion's, {theirs}."
    elif attempt.allow_replace_newer:
        sentence = (
            f"Snapshot {mine} is older than the champion's, {theirs}: forced by the operator."
        )
    else:
        sentence = (
            f"Snapshot {mine} is older than the champion's, {theirs}: the version is registered, "
            f"and {champion.version} stays champion."
        )
    passed = attempt.snapshot >= champion.snapshot or attempt.allow_replace_newer
    return Rule(ORDER, theirs, mine, passed, sentence, quality=False)


def _moved(evidence: Evidence, attempt: Attempt, champion: ChampionRef | None) -> str | None:
    """Say why the report was measured against another champion than today's, or return None."""
    measured, current = evidence.champion, champion.version if champion else None
    if measured == current:
        return None
    if champion and champion.run_key == attempt.run_key and measured == champion.previous:
        # This run has promoted its version already and is being decided once more (a retry):
        # its report rightly names the champion of before.
        return None
    if champion is None:
        return f"The report was measured against {measured}, now there is no champion"
    against = f"against {measured}" if measured else "without a champion"
    return f"The report was measured {against}, the champion is now {current}"


def _flattery(evidence: Evidence, *, holds: bool, excused: bool) -> str:
    """End the champion's sentence: say when its score is flattered, and what follows."""
    if not evidence.champion_saw_held_out:
        return "."
    if holds:
        return ", though the champion was trained on some of these rows."
    if excused:
        return ", but the champion was trained on some of these rows: its score does not count."
    return (
        ", and the champion was trained on some of these rows, so its score is flattered: to let "
        "the baselines alone decide, run again and allow the champion to be replaced."
    )

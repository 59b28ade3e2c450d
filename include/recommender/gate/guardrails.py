"""Apply the guardrails: what a better average must not hide, and what one good night does not prove."""

from __future__ import annotations

from collections.abc import Mapping

from recommender.gate.evidence import Evidence
from recommender.gate.groups import Group
from recommender.gate.policy import CANDIDATE, CHAMPION, Policy
from recommender.gate.records import Attempt, Rule
from recommender.gate.rules import ROUNDING, strongest_baseline

COHORTS = "spares_cohorts"
ITEMS = "spares_head_and_tail"
OVERLAP = "keeps_familiar_lists"
STABILITY = "wins_every_window"


def asked(policy: Policy) -> dict[str, float | None]:
    """Return the guardrails that a policy asks for, each with its threshold."""
    thresholds: dict[str, float | None] = {}
    if policy.max_cohort_drop is not None:
        thresholds[COHORTS] = policy.max_cohort_drop
    if policy.max_item_drop is not None:
        thresholds[ITEMS] = policy.max_item_drop
    if policy.overlap_action != "off":
        thresholds[OVERLAP] = policy.min_overlap
    if policy.stable_windows > 1:
        thresholds[STABILITY] = policy.stable_windows
    return thresholds


def apply(
    evidence: Evidence, policy: Policy, attempt: Attempt, *, excused: bool, won: bool
) -> tuple[Rule, ...]:
    """Return the outcome of every guardrail that the policy asks for.

    Args:
        evidence: what the report showed.
        policy: what is asked.
        attempt: what is judged, with the history of older snapshots.
        excused: whether the champion's numbers count for nothing, because it was trained on some
            of the held-out rows and the pointer cannot move by itself.
        won: whether this window is won against the strongest baseline.
    """
    outcomes = {
        COHORTS: lambda: spares_cohorts(evidence, policy, excused=excused),
        ITEMS: lambda: spares_head_and_tail(evidence, policy, excused=excused),
        OVERLAP: lambda: keeps_familiar_lists(evidence, policy),
        STABILITY: lambda: wins_every_window(policy, attempt, won=won),
    }
    return tuple(outcomes[name]() for name in asked(policy))


def spares_cohorts(evidence: Evidence, policy: Policy, *, excused: bool) -> Rule:
    """Ask that no cohort of users pays for the average: against the champion, or the baseline."""
    limit = policy.max_cohort_drop or 0.0
    if evidence.champion is None:
        reference = strongest_baseline(evidence, policy)
    elif excused:
        return Rule(COHORTS, limit, None, True, _FLATTERED)
    else:
        reference = CHAMPION
    judged = {n: g for n, g in evidence.cohorts.items() if g.size >= policy.min_users}
    return _worst_drop(
        COHORTS, judged, reference, limit, f"users (of {policy.min_users:,} or more)"
    )


def spares_head_and_tail(evidence: Evidence, policy: Policy, *, excused: bool) -> Rule:
    """Ask that neither popular nor rare items lose: against the champion only.

    Popularity finds head items by construction and tail items never, so it is no yardstick here.
    """
    limit = policy.max_item_drop or 0.0
    if evidence.champion is None:
        sentence = "There is no champion yet to compare head and tail with."
        return Rule(ITEMS, limit, None, True, sentence)
    if excused:
        return Rule(ITEMS, limit, None, True, _FLATTERED)
    judged = {n: g for n, g in evidence.items.items() if g.size >= policy.min_held_out}
    noun = f"items (of {policy.min_held_out:,} or more held-out rows)"
    return _worst_drop(ITEMS, judged, CHAMPION, limit, noun)


def keeps_familiar_lists(evidence: Evidence, policy: Policy) -> Rule:
    """Ask that users meet a list they know in part; by default a warning, no refusal."""
    low, high = policy.min_overlap, policy.max_overlap
    advisory = policy.overlap_action == "warn"
    if evidence.champion is None:
        sentence = "There is no champion yet whose lists could be kept."
        return Rule(OVERLAP, low, None, True, sentence, advisory=advisory)
    found = evidence.overlap
    if found is None:
        sentence = "The report does not say how much of the champion's lists is kept."
        return Rule(OVERLAP, low, None, False, sentence, advisory=advisory)
    sentence = f"The lists keep {found:.1%} of the champion's; {low:.1%} to {high:.1%} is asked."
    passed = low - ROUNDING <= found <= high + ROUNDING
    return Rule(OVERLAP, low, found, passed, sentence, advisory=advisory)


def wins_every_window(policy: Policy, attempt: Attempt, *, won: bool) -> Rule:
    """Ask that the last N windows were won, this one among them; a missing one is not won."""
    wanted = policy.stable_windows
    earlier = attempt.history[: wanted - 1]
    in_a_row = 0
    for good in (won, *(window.won for window in earlier)):
        if not good:
            break
        in_a_row += 1
    sentence = f"{in_a_row} of the last {wanted} windows were won in a row; all are asked"
    lost = next((window for window in earlier if not window.won), None)
    if not won:
        sentence += ": this one is lost."
    elif lost is not None:
        sentence += f": {lost.snapshot} {lost.note}."
    elif len(earlier) < wanted - 1:
        sentence += f": only {len(earlier)} older snapshots have a decision."
    else:
        sentence += f": {', '.join(window.snapshot for window in earlier)} and this one."
    return Rule(STABILITY, wanted, in_a_row, in_a_row >= wanted, sentence)


_ERRORS = 2.0
"""Standard errors beyond which a group's loss is no chance: 2.3 % of equal models lose by more."""

_FLATTERED = "The champion was trained on some of these rows: its numbers do not count."


def _worst_drop(
    rule: str, groups: Mapping[str, Group], reference: str, limit: float, noun: str
) -> Rule:
    """Judge the group that loses the largest share of the reference's recall."""
    drops = {
        name: 1 - group.recall[CANDIDATE] / group.recall[reference]
        for name, group in groups.items()
        if group.recall[reference] > 0
    }
    if not drops:
        sentence = f"There are no {noun} for which {reference} finds anything."
        return Rule(rule, limit, None, True, sentence)
    certain = {
        name: groups[name].recall[reference] - groups[name].recall[CANDIDATE]
        > _ERRORS * groups[name].gain_error[reference]
        for name in drops
    }
    # What chance explains is no loss: the worst is looked for among the certain ones first.
    worst = max(drops, key=lambda name: (certain[name], drops[name]))
    mine, theirs = (groups[worst].recall[name] for name in (CANDIDATE, reference))
    sentence = (
        f"Of all {noun}, the {worst} ones fare worst: recall {mine:.4g}, {abs(drops[worst]):.1%} "
        f"{'below' if drops[worst] > 0 else 'above'} {reference} ({theirs:.4g})"
    )
    if drops[worst] > limit and not certain[worst]:
        sentence += f", which may be chance; at most {limit:.1%} below, or chance, is allowed."
    else:
        sentence += f"; at most {limit:.1%} below is allowed."
    passed = drops[worst] <= limit + ROUNDING or not certain[worst]
    return Rule(rule, limit, drops[worst], passed, sentence)

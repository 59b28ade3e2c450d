"""The guardrails, stability, shadow mode and a person's answer; each rule alone flips the verdict."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from gate_reports import CHAMPION, Report, attempt, failed, make_report, outcome
from hypothesis import given
from hypothesis import strategies as st

from recommender.gate import Answer, Decision, Policy, Window, decide

STRICT = Policy(max_cohort_drop=0.1, max_item_drop=0.25, overlap_action="refuse", min_overlap=0.2)


def report(**changes: Any) -> Report:
    return make_report(**{"champion": 0.039, **changes})


def shifted(document: Report, cohort: str, other: str, by: float) -> Report:
    """Take recall from one cohort of the candidate and give it to another: the mean stays."""
    changed = copy.deepcopy(document)
    cohorts = changed["cohorts"]
    moved = cohorts[cohort]["recall"]["als"] * by
    cohorts[cohort]["recall"]["als"] -= moved
    cohorts[other]["recall"]["als"] += moved * cohorts[cohort]["users"] / cohorts[other]["users"]
    return changed


def with_value(document: Report, *path_and_value: Any) -> Report:
    *path, key, value = path_and_value
    changed = copy.deepcopy(document)
    node: Any = changed
    for step in path:
        node = node[step]
    node[key] = value
    return changed


def test_a_good_report_passes_every_guardrail() -> None:
    decision = decide(report(), STRICT, attempt(), CHAMPION)
    assert (decision.verdict, failed(decision)) == ("promoted", [])
    assert [rule.name for rule in decision.rules][7:-1] == [
        "spares_cohorts", "spares_head_and_tail", "keeps_familiar_lists",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "rule", "words"),
    [
        (
            shifted(report(), "light", "heavy", 0.2),
            "spares_cohorts",
            "the light ones fare worst: recall",
        ),
        (shifted(report(), "heavy", "light", 0.2), "spares_cohorts", "the heavy ones fare worst"),
        (
            with_value(report(), "items", "tail", "recall", "als", 0.01),
            "spares_head_and_tail",
            "the tail ones fare worst: recall 0.01, 48.7% below champion (0.0195)",
        ),
        (
            with_value(report(), "items", "head", "recall", "als", 0.04),
            "spares_head_and_tail",
            "the head ones fare worst",
        ),
        (report(overlap=0.1), "keeps_familiar_lists", "keep 10.0% of the champion's; 20.0% to"),
    ],
)
def test_each_guardrail_alone_refuses(document: Report, rule: str, words: str) -> None:
    decision = decide(document, STRICT, attempt(), CHAMPION)
    assert (decision.verdict, failed(decision)) == ("refused", [rule])
    assert words in decision.reason
    lax = replace(STRICT, max_cohort_drop=None, max_item_drop=None, min_overlap=0.0)
    assert decide(document, lax, attempt(), CHAMPION).verdict == "promoted"


def test_a_loss_within_two_standard_errors_is_chance_and_refuses_nothing() -> None:
    few_hits = with_value(report(), "items", "tail", "recall", "als", 0.01)
    for error, passes in ((0.0047, False), (0.0048, True)):  # it loses 0.0095
        noisy = with_value(few_hits, "items", "tail", "gain_error", "champion", error)
        rule = outcome(decide(noisy, STRICT, attempt(), CHAMPION), "spares_head_and_tail")
        assert rule.passed is passes
        assert ("which may be chance" in rule.sentence) is passes


def test_a_certain_loss_is_found_behind_a_larger_one_that_may_be_chance() -> None:
    document = with_value(report(), "items", "tail", "recall", "als", 0.001)
    document = with_value(document, "items", "tail", "gain_error", "champion", 0.5)
    document = with_value(document, "items", "head", "recall", "als", 0.03)
    decision = decide(document, STRICT, attempt(), CHAMPION)
    assert failed(decision) == ["spares_head_and_tail"]
    assert "the head ones fare worst" in decision.reason


def test_before_the_first_champion_cohorts_stand_against_the_strongest_baseline() -> None:
    first = shifted(make_report(), "light", "heavy", 0.3)
    decision = decide(first, STRICT, attempt(), None)
    assert failed(decision) == ["spares_cohorts"]
    assert "below popularity_recent" in decision.reason
    assert outcome(decision, "spares_head_and_tail").passed  # nothing to compare with


def test_a_group_too_small_to_judge_is_left_out_and_the_sentence_says_from_where() -> None:
    policy = replace(STRICT, min_users=1000, min_held_out=1)
    small = shifted(report(), "light", "heavy", 0.5)
    small["items"]["tail"]["recall"]["als"] = 0.02
    decision = decide(small, policy, attempt(), CHAMPION)  # cohorts of 790 users
    assert decision.verdict == "promoted"
    assert "no users (of 1,000 or more)" in outcome(decision, "spares_cohorts").sentence


def test_lists_that_change_too_much_or_too_little_warn_by_default() -> None:
    for overlap, policy in ((0.05, Policy()), (0.99, Policy(max_overlap=0.9))):
        decision = decide(report(overlap=overlap), policy, attempt(), CHAMPION)
        assert decision.verdict == "promoted"
        assert outcome(decision, "keeps_familiar_lists").result == "warn"
        assert f"Warning: The lists keep {overlap:.1%}" in decision.reason
        assert "All" not in decision.reason


def test_an_overlap_that_is_not_measured_warns_or_refuses_by_the_policy() -> None:
    document = report()
    del document["overlap"]
    assert (
        outcome(decide(document, Policy(), attempt(), CHAMPION), "keeps_familiar_lists").result
        == "warn"
    )
    strict = decide(document, Policy(overlap_action="refuse"), attempt(), CHAMPION)
    assert strict.reason == "The report cannot be trusted: overlap is missing."
    silent = decide(document, Policy(overlap_action="off"), attempt(), CHAMPION)
    assert "keeps_familiar_lists" not in [rule.name for rule in silent.rules]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            with_value(report(), "cohorts", "light", "users", 789),
            "cohorts are of another population: they count 2,371 users, the report measures 2,372",
        ),
        (
            with_value(report(), "cohorts", "light", "recall", "als", 0.05),
            "cohorts are of another population: their recalls of als average to",
        ),
        (
            with_value(report(), "items", "head", "held_out", 5),
            "item groups are of another population: they count 28,413 held-out interactions",
        ),
        (with_value(report(), "cohorts", {}), "they count 0 users, the report measures 2,372"),
        (with_value(report(), "cohorts", "light", "recall", {}), "cohorts.light.recall.als is mis"),
        (with_value(report(), "cohorts", "light", "recall", "als", -0.1), "number from 0 to 1"),
        (with_value(report(), "items", {}), "items.head is missing"),
        (with_value(report(), "items", "tail", "gain_error", {}), "gain_error.popularity is miss"),
        (with_value(report(), "overlap", "champion", 1.2), "overlap.champion should be a number"),
    ],
)
def test_groups_of_another_population_or_malformed_refuse(document: Report, words: str) -> None:
    decision = decide(document, STRICT, attempt(), CHAMPION)
    assert (decision.verdict, decision.evidence) == ("refused", None)
    assert words in decision.reason
    assert {"spares_cohorts", "spares_head_and_tail", "keeps_familiar_lists"} <= set(
        failed(decision)
    )


def test_swapped_cohorts_of_unequal_size_are_found() -> None:
    document = report(users=2000, held_out=56815)
    cohorts = document["cohorts"]
    cohorts["light"]["users"], cohorts["heavy"]["users"] = 400, 934  # as if two columns changed
    assert "another population" in decide(document, STRICT, attempt(), CHAMPION).reason


@pytest.mark.parametrize(("snapshot", "passes"), [("2017-10-31", True), ("2017-12-31", False)])
def test_groups_of_a_flattered_champion_count_only_where_it_would_be_replaced(
    snapshot: str, passes: bool
) -> None:
    document = report(champion=0.4, saw_held_out=True)
    decision = decide(document, STRICT, attempt(snapshot), CHAMPION)
    assert outcome(decision, "spares_cohorts").passed is passes
    assert outcome(decision, "spares_head_and_tail").passed is passes


# --- better than, as good as -----------------------------------------------------------------


def against(champion: float, low: float, high: float) -> Report:
    """A report whose paired interval against the champion is [low, high]."""
    document = report(champion=champion)
    document["comparisons"][2] |= {"ci_low": low, "ci_high": high}
    return document


@pytest.mark.parametrize(
    ("champion", "low", "high", "standing", "words"),
    [
        (0.039, 1e-4, 2e-3, "better", "It is better than the champion."),
        (0.0395, -1e-4, 1e-3, "as good", "It is as good as the champion, not better."),
        (0.04, 0.0, 0.0, "as good", "It is as good as the champion, not better."),
        (0.0403, -6e-4, -1e-5, "worse", "It is worse than the champion, within what is tolerated."),
    ],
)
def test_the_record_says_better_or_as_good(
    champion: float, low: float, high: float, standing: str, words: str
) -> None:
    decision = decide(against(champion, low, high), Policy(), attempt(), CHAMPION)
    assert (decision.verdict, decision.standing) == ("promoted", standing)
    assert decision.reason.endswith(words)
    assert decision.to_json()["standing"] == standing


@pytest.mark.parametrize(
    ("champion", "low", "margin", "verdict"),
    [
        (0.039, 1e-4, 0.0, "promoted"),
        (0.039, 1e-4, 0.025, "promoted"),
        (0.039, 1e-4, 0.03, "refused"),  # 2.6 % better
        (0.039, -1e-4, 0.0, "refused"),  # better on average, not with certainty
        (0.04, 0.0, 0.0, "refused"),  # a copy
    ],
)
def test_a_margin_asks_for_better_and_for_certainty(
    champion: float, low: float, margin: float, verdict: str
) -> None:
    policy = Policy(champion_margin=margin)
    decision = decide(against(champion, low, 2e-3), policy, attempt(), CHAMPION)
    assert decision.verdict == verdict
    assert failed(decision) == ([] if verdict == "promoted" else ["holds_against_champion"])
    assert ("short, which may be chance" in decision.reason) is (verdict == "refused" and low <= 0)


recalls = st.floats(0.001, 0.45)


@given(recalls, recalls, recalls, st.floats(0, 0.1))
def test_an_equal_copy_of_the_champion_is_never_promoted_as_better(
    recall: float, popularity: float, recent: float, width: float
) -> None:
    document = make_report(recall, popularity, recent, champion=recall)
    for entry in document["comparisons"]:
        if entry["baseline"] == "champion":
            entry |= {"ci_low": -width, "ci_high": width}
    decision = decide(document, STRICT, attempt(), CHAMPION)
    assert decision.standing == "as good"
    assert "is better than the champion" not in decision.reason
    strict = decide(document, replace(STRICT, champion_margin=0.0), attempt(), CHAMPION)
    assert strict.verdict == "refused"


@given(recalls, recalls, recalls, st.floats(1.05, 2.0), st.floats(0.2, 1.0))
def test_better_on_everything_is_never_refused(
    popularity: float, recent: float, champion: float, factor: float, overlap: float
) -> None:
    als = max(popularity, recent, champion) * factor
    document = make_report(als, popularity, recent, champion=champion, overlap=overlap)
    for entry in document["comparisons"]:
        entry |= {"ci_low": entry["difference"] / 2, "ci_high": min(1.0, entry["difference"] * 1.5)}
    policy = replace(STRICT, champion_margin=0.0, stable_windows=2)
    won = (Window("2017-11-30", "a", won=True, note="was won"),)
    decision = decide(document, policy, attempt(history=won), CHAMPION)
    assert decision.verdict == "promoted", decision.table()
    assert decision.standing == "better"


# --- stability -------------------------------------------------------------------------------

NOVEMBER = Window("2017-11-30", "n", won=True, note="was won")
OCTOBER = Window("2017-10-31", "o", won=True, note="was won")
LOST = Window("2017-11-30", "n", won=False, note="was lost: it may be chance")


@pytest.mark.parametrize(
    ("history", "measured", "words"),
    [
        ((NOVEMBER, OCTOBER), 3, "3 of the last 3 windows were won in a row; all are asked: 2017-"),
        ((LOST, OCTOBER), 1, ": 2017-11-30 was lost: it may be chance."),
        ((NOVEMBER, replace(LOST, snapshot="2017-10-31")), 2, ": 2017-10-31 was lost"),
        ((NOVEMBER,), 2, "only 1 older snapshots have a decision."),
        ((), 1, "only 0 older snapshots have a decision."),
    ],
)
def test_three_windows_have_to_be_won_in_a_row(
    history: tuple[Window, ...], measured: int, words: str
) -> None:
    decision = decide(report(), Policy(stable_windows=3), attempt(history=history), CHAMPION)
    rule = outcome(decision, "wins_every_window")
    assert (rule.measured, rule.passed) == (measured, measured == 3)
    assert words in rule.sentence
    assert decision.verdict == ("promoted" if measured == 3 else "refused")
    assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision


def test_a_lost_window_of_today_is_no_win_whatever_came_before() -> None:
    policy = Policy(stable_windows=2)
    decision = decide(report(als=0.034, champion=0.03, ci_low=1e-4), policy,
                      attempt(history=(NOVEMBER,)), CHAMPION)  # fmt: skip
    assert outcome(decision, "wins_every_window").measured == 0
    assert "this one is lost" in outcome(decision, "wins_every_window").sentence


# --- shadow mode and approval ----------------------------------------------------------------


def test_shadow_decides_and_says_that_nothing_follows() -> None:
    live = decide(report(), STRICT, attempt(), CHAMPION)
    shadow = decide(report(), replace(STRICT, mode="shadow"), attempt(), CHAMPION)
    assert (shadow.verdict, shadow.rules, shadow.reason) == (live.verdict, live.rules, live.reason)
    assert live.acts
    assert not shadow.acts
    record = shadow.to_json()
    assert (record["mode"], record["acts"], record["verdict"]) == ("shadow", False, "promoted")
    assert "promoted (shadow: nothing is published): " in shadow.table()
    assert Decision.from_json(record) == shadow


AT = "2018-01-01T08:00:00+00:00"


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (Answer(approved=True, by="ana", at=AT), "promoted", f"Approved by ana at {AT}."),
        (Answer(approved=False, by="ana", at=AT), "refused", f"Rejected by ana at {AT}."),
        (
            Answer(approved=False, by=None, at=AT),
            "refused",
            "Nobody answered within 24 hours: refused by the time limit",
        ),
    ],
)
def test_a_persons_answer_is_a_rule_of_the_record(answer: Answer, verdict: str, words: str) -> None:
    decision = decide(report(), Policy(approval=True), attempt(), CHAMPION).answered(answer)
    assert decision.verdict == verdict
    rule = outcome(decision, "approved_by_a_person")
    assert words in rule.sentence
    assert verdict == "promoted" or decision.reason == rule.sentence
    record = json.loads(json.dumps(decision.to_json()))
    assert record["approval"] == {"approved": answer.approved, "by": answer.by, "at": AT}
    assert Decision.from_json(record) == decision


def test_records_of_before_the_guardrails_are_still_read_and_ask_for_none() -> None:
    document = decide(report(), Policy(overlap_action="off"), attempt(), CHAMPION).to_json()
    for key in ("mode", "acts", "standing", "approval", "stability"):
        del document[key]
    for key in ("cohorts", "items", "overlap"):
        del document["evidence"][key]
    kept = {"min_relative_uplift", "champion_tolerance", "min_users", "min_held_out",
            "min_coverage", "baselines"}  # fmt: skip
    document["policy"] = {key: document["policy"][key] for key in kept}
    old = Decision.from_json(document)
    assert (old.policy.overlap_action, old.policy.max_cohort_drop) == ("off", None)
    assert old.acts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "dry"}, "mode: expected one of enforce, shadow, found 'dry'"),
        ({"overlap_action": "stop"}, "overlap_action: expected one of off, warn, refuse"),
        ({"champion_margin": -0.1}, "champion_margin: expected a number from 0 to 10"),
        ({"max_cohort_drop": 1.5}, "max_cohort_drop: expected a number from 0 to 1"),
        ({"max_item_drop": True}, "max_item_drop"),
        ({"min_overlap": 0.9, "max_overlap": 0.5}, "min_overlap 0.9 is above max_overlap 0.5"),
        ({"stable_windows": 0}, "stable_windows: expected a whole number of 1 or more"),
        ({"approval": "yes"}, "approval: expected true or false"),
        ({"approval_hours": 0}, "approval_hours: expected more than 0"),
        ({"approval_hours": float("nan")}, "approval_hours"),
    ],
)
def test_policy_refuses_what_is_out_of_range(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Policy(**change)

"""The run's page: the verdict first, every part or a sentence instead of it, nothing that could run."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import registry_store
from gate_reports import CHAMPION, Report, attempt, make_report

from recommender import registry, storage
from recommender.config import Contender
from recommender.gate import (
    Answer,
    Decision,
    Policy,
    StageCost,
    decide,
    decision,
    guardrails,
    rules,
    serving,
)
from recommender.locations import Locations, join
from recommender.reporting import Item, Material, gather, render, sections
from recommender.reporting.style import looks
from recommender.reporting.wording import RULES

COST = StageCost("train", 0.125, 1.5, (), "2026-11-22", simulated=True)
HOSTILE = "<script>alert(1)</script>\" onmouseover='x' & Sons"


def full_report() -> Report:
    """A report with everything that the evaluation may add."""
    report = make_report(champion=0.039)
    names = list(report["models"])
    for number, scores in enumerate(report["models"].values()):
        scores |= {"precision": 0.05, "mrr": 0.19, "novelty": 1.5, "popularity_bias": 3.5}
        scores["seconds_fit"] = 0.5 + number
    ks = [1, 5, 20]
    report["curves"] = {
        "k": ks,
        **{
            metric: {name: [0.01, 0.02, report["models"][name][metric]] for name in names}
            for metric in ("recall", "ndcg")
        },
    }
    report["training"] = {
        "validation_curve": [{"iteration": 3, "recall": 0.031}, {"iteration": 7, "recall": 0.0377}],
        "train_loss": [0.9, 0.8, 0.75],
        "engine": {"engine": "implicit", "why": "implicit, chosen by size: 8,000 rows"},
    }
    report["cold"] = {
        "users": {"users": 5, "recall": {"popularity": 0.0123}},
        "items": {"items": 79},
    }
    report["lineage"] |= {"snapshot": "2017-12-31", "versions": {"numpy": "2.4"}, "code_hash": "ab"}
    return report


SAMPLES = [
    {
        "user": f"user-{number}",
        "cohort": cohort,
        "history": ["i1", "i2"],
        "held_out": ["i3", "i9"],
        "lists": {"als": ["i3", "i4"], "champion": ["i4", "i5"]},
    }
    for number, cohort in enumerate(("light", "medium", "heavy"))
]
PROFILE = {
    "stages": [{"stage": "raw", "rows": 1000}, {"stage": "deduplicated", "rows": 900}],
    "quarantined": {"no item": 3},
    "users": 50,
    "items": 40,
    "density": 0.0125,
    "windows": {"test": {"rows": 100, "users": 30, "last_date": "2017-12-31T00:00:00Z"}},
    "cold": {"test": {"rows": 7, "row_share": 0.07, "users": 1, "items": 2}},
    "days": {"first_date": "2017-12-01", "rows": list(range(10, 41))},
}
EARLIER = {**PROFILE, "users": 40, "days": {"first_date": "2017-11-20", "rows": list(range(30))}}
CHECKS = {
    "outcome": "warned",
    "reason": "users grew by a quarter",
    "compared_with": {"snapshot": "2017-11-30", "run_key": "x", "profile": "p"},
    "checks": [
        {"name": "rows", "result": "pass", "sentence": "as before"},
        {"name": "users", "result": "warn", "sentence": "users grew by a quarter"},
    ],
}
SEARCH = {
    "trials": [
        {"setting": {"alpha": 20.0, "half_life_days": None}, "recall": 0.0321, "seconds": 2.0},
        {"setting": {"alpha": 6.5, "half_life_days": 60}, "recall": 0.0377, "seconds": 3.0},
    ]
}


def material(**changes: Any) -> Material:
    report = changes.pop("report", full_report())
    whole = Material(
        decision=decide(report, Policy(), attempt(costs=(COST,)), CHAMPION),
        report=report,
        search=SEARCH,
        profile=PROFILE,
        earlier=EARLIER,
        earlier_snapshot="2017-11-30",
        checks=CHECKS,
        samples=SAMPLES,
        items={"i3": Item("Green tea", "Drinks > Tea", "Leaf & Co"), "i4": Item(HOSTILE)},
        published="2017-12-31-cafe0123",
        became_champion=True,
        places={"dataset": "s3://work/dataset"},
    )
    return replace(whole, **changes)


class Read(HTMLParser):
    """Read a page as a browser would: texts, attributes, and whether tags close in order."""

    VOID = frozenset({"meta", "br", "path", "use", "rect", "circle", "img", "hr", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    return render(material())


def test_every_rule_of_the_gate_has_words_for_a_person() -> None:
    modules = (rules, guardrails, serving)
    names = {value for module in modules for key, value in vars(module).items() if key.isupper()}
    names = {n for n in names if isinstance(n, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", n)}
    assert {"beats_baseline", "serves_as_measured", "keeps_familiar_lists"} <= names
    assert names | {decision.APPROVAL} == RULES.keys()


def test_the_verdict_comes_before_everything_else(page: str) -> None:
    body = page[page.index("<main>") :]
    verdict = body.index("All 11 rules pass. Recall@20 is 0.04, 19.4% above")
    assert verdict < body.index("<h2")
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", body)
    assert titles[:2] == ["The gate&#39;s rules", "All models on the same users"]
    assert len(titles) == 11
    assert "This model is the champion from now on." in body
    assert "as good" in body or "better" in body


def test_a_page_with_everything_leaves_no_part_out(page: str) -> None:
    assert 'class="absent"' not in page
    for text in (
        "2017-12-31-cafe0123", "0.0377", "Green tea", "Leaf &amp; Co", "No cohort of users pays",
        "users grew by a quarter", "0.1250", "nothing was billed", "2017-11-30", "+25.0%", "numpy",
        "new users: recall popularity", "0.0123", "light users", "tail items", "code_hash",
    ):  # fmt: skip
        assert text in page, text


def test_the_engine_says_why_it_was_chosen_also_where_it_shows_no_course(page: str) -> None:
    assert "Engine: implicit, chosen by size: 8,000 rows." in page
    report = full_report()
    report["training"] = {
        "validation_curve": [],
        "train_loss": None,
        "engine": {"engine": "spark", "why": "spark, asked for"},
    }
    alone = render(material(report=report, search=None))
    assert "Engine: spark, asked for." in alone
    assert "no curve of its training" not in alone


def test_every_plot_has_words_for_who_cannot_see_it_and_a_table_beside_it(page: str) -> None:
    plots = [attributes for tag, attributes in Read(page).tags if tag == "svg"]
    assert len(plots) == 5
    for plot in plots:
        assert plot["role"] == "img"
        assert len(plot["aria-label"] or "") > 20
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    for plotted in ("0.0400", "0.0390", "0.0335", "0.0300", "0.0310"):
        assert plotted in cells


def test_a_hostile_title_is_text_and_nothing_is_fetched_or_run(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    read = Read(page)
    assert read.open == []
    assert not [tag for tag, _ in read.tags if tag in {"script", "iframe", "object", "link", "img"}]
    for _, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), attributes
    assert "default-src &#39;none&#39;" in page


def test_ids_are_unique_and_every_link_of_the_contents_leads_somewhere(page: str) -> None:
    read = Read(page)
    own = [one for one in read.ids if not re.match(r"\w+-[mpc][0-9a-f]{10}", one)]
    assert len(own) == len(set(own))  # markers of one look share theirs, with the same content
    targets = [a["href"] for tag, a in read.tags if tag == "a"]
    assert targets
    assert {str(target)[1:] for target in targets} <= set(read.ids)


def test_the_same_run_gives_the_same_page(page: str) -> None:
    assert render(material()) == page


def test_a_run_that_left_only_a_decision_has_a_page_of_sentences() -> None:
    decision = decide(make_report(als=0.01), Policy(), attempt(), None)
    page = render(Material(decision))
    assert "Nothing changes: the champion stays" in page
    for sentence in (
        "There is no report of this run.",
        "There is no profile of the data.",
        "No data checks have been recorded",
        "The run has kept no sample of users.",
        "The decision&#39;s record has no cost of this run.",
    ):
        assert sentence in page
    assert Read(page).open == []
    assert "beats_baseline" not in page
    assert "Beats the strongest baseline" in page


@pytest.mark.parametrize("key", ["curves", "cohorts", "items", "overlap", "training", "cold"])
def test_a_report_without_a_section_says_so_and_shows_the_rest(key: str) -> None:
    report = full_report()
    del report[key]
    decision = decide(full_report(), Policy(), attempt(), CHAMPION)
    built = sections.build(material(report=report, decision=decision, search=None))
    absent = {one.name for one in built if one.absent}
    expected = {"curves": {"curves"}, "overlap": {"overlap"}, "training": {"training"}}
    assert absent == {"cost"} | expected.get(key, set())


@pytest.mark.parametrize(
    "report",
    [
        {"k": 20},
        {"models": []},
        {**full_report(), "models": {"als": {"recall": math.nan}}},
        {**full_report(), "curves": {"k": ["x"], "recall": {"als": [None]}, "ndcg": {}}},
        {**full_report(), "cohorts": {"light": 3}},
    ],
)
def test_a_malformed_report_is_refused_and_still_told(report: Report) -> None:
    page = render(material(report=report))
    assert "This part cannot be shown" in page
    assert "The gate&#39;s rules" in page
    assert Read(page).open == []


@pytest.mark.parametrize(
    ("policy", "answer", "words"),
    [
        (Policy(mode="shadow"), None, "Shadow mode: the gate only watches"),
        (Policy(approval=True), None, "A person is asked before"),
        (
            Policy(approval=True),
            Answer(approved=False, by="ana", at="2018-01-01"),
            "Rejected by ana at 2018-01-01.",
        ),
    ],
)
def test_the_page_says_when_nothing_follows(
    policy: Policy, answer: Answer | None, words: str
) -> None:
    decision = decide(full_report(), policy, attempt(), CHAMPION)
    page = render(material(decision=decision.answered(answer) if answer else decision))
    assert words in page
    assert "is the champion from now on" not in page


@pytest.mark.parametrize(
    ("verdict", "done", "words"),
    [
        ("promoted", {"published": None}, "It has not been published"),
        ("promoted", {"became_champion": False}, "has not become the champion"),
        ("registered", {"published": None}, "It has not been published"),
        ("registered", {"became_champion": False}, "The version is kept; the newer champion stays"),
    ],
)
def test_the_page_says_what_was_done_and_not_what_was_decided(
    verdict: str, done: dict[str, Any], words: str
) -> None:
    snapshot = "2017-12-31" if verdict == "promoted" else "2016-12-31"
    decision = decide(full_report(), Policy(), attempt(snapshot), CHAMPION)
    assert decision.verdict == verdict
    page = render(material(decision=decision, **{"became_champion": False, **done}))
    assert words in page
    assert "is the champion from now on" not in page


def test_the_lineage_lists_values_and_no_courses() -> None:
    report = full_report()
    report["lineage"]["candidate"]["about"] = {
        "training": {"validation_curve": [{"iteration": 2, "recall": 0.5}], "losses": [3, 2]}
    }
    page = render(material(report=report))
    assert "candidate.about.training.losses" in page
    assert "candidate.about.training.validation_curve" not in page


def test_small_shares_of_the_profile_keep_their_digits() -> None:
    assert "1.2e-06" in render(material(profile={**PROFILE, "density": 1.2e-6}))


def test_models_are_told_apart_without_colour() -> None:
    names = ["als", "champion", *get_args(Contender)]
    found = looks(names)
    assert len({look.marker for look in found.values()}) == len(names)
    assert len({str(look.line) for look in found.values()}) == len(names)
    assert looks(["z", "als"])["als"] == found["als"]


def test_a_model_looks_the_same_in_every_plot(page: str) -> None:
    report = full_report()
    found = looks(sorted(report["models"]))
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    drawn = [plot for plot in plots if "popularity_recent" in plot]
    assert len(drawn) == 3  # the leaderboard, the curves, the groups
    for plot in drawn:
        for name in report["models"]:
            assert found[name].color.lower() in plot, name


def test_a_dollar_in_a_models_name_is_no_formula() -> None:
    report = full_report()
    for part in (report["models"], report["curves"]["recall"], report["curves"]["ndcg"]):
        part["pay$x_1$"] = copy_of(part["popularity"])
    assert "pay$x_1$" in render(material(report=report))


def copy_of(value: Any) -> Any:
    return json.loads(json.dumps(value))


# --- gathering -------------------------------------------------------------------------------


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(*(str(tmp_path / name) for name in ("lake", "work", "models")))


def decided(locations: Locations, snapshot: str = "2017-12-31") -> Decision:
    decision = decide(full_report(), Policy(), attempt(snapshot), CHAMPION)
    registry.record_decision(locations, decision)
    return decision


def test_gathering_reads_what_is_there_and_leaves_out_what_is_not(locations: Locations) -> None:
    bare = gather(locations, decided(locations))
    assert (bare.report, bare.profile, bare.samples, bare.items) == (None, None, None, {})
    assert render(bare)

    run = locations.run("shop", dt.date(2017, 12, 31), "manual-1")
    storage.write_json(join(run.report, "report.json"), full_report())
    storage.write_json(join(run.report, "samples.json"), SAMPLES)
    storage.write_json(join(run.dataset, "profile.json"), PROFILE)
    storage.write_json(join(run.candidate, "search.json"), SEARCH)
    storage.write(join(run.root, "checks", "checks.json"), b"{torn")
    metadata = pa.table(
        {
            "item_id": ["i3", "i99"],
            "title": ["Green tea", "Not shown"],
            "category": ["Tea", None],
            "brand": [None, None],
            "price": [2.5, None],
        }
    )
    folder = Path(run.dataset) / "items_metadata"
    folder.mkdir()
    pq.write_table(metadata, folder / "part-0.parquet")
    found = gather(locations, decided(locations))
    assert found.report == full_report()
    assert found.items == {"i3": Item("Green tea", "Tea", None)}
    assert (found.checks, found.earlier) == (None, None)
    assert found.search == SEARCH


@pytest.mark.parametrize(
    "samples", [["x"], [{"lists": ["i1"]}], [{"history": 5}], [{"history": [{"a": 1}]}]]
)
def test_samples_that_cannot_be_read_cost_the_names_and_not_the_page(
    locations: Locations, samples: Any
) -> None:
    run = locations.run("shop", dt.date(2017, 12, 31), "manual-1")
    storage.write_json(join(run.report, "samples.json"), samples)
    assert gather(locations, decided(locations)).items == {}


def test_metadata_that_cannot_be_read_cost_the_names_and_not_the_page(
    locations: Locations, caplog: pytest.LogCaptureFixture
) -> None:
    run = locations.run("shop", dt.date(2017, 12, 31), "manual-1")
    storage.write_json(join(run.report, "samples.json"), SAMPLES)
    storage.write(join(run.dataset, "items_metadata", "part-0.parquet"), b"torn")
    found = gather(locations, decided(locations))
    assert (found.items, len(found.samples or [])) == ({}, len(SAMPLES))
    assert "items stay without names" in caplog.text


def test_only_what_the_pointers_history_names_became_the_champion(locations: Locations) -> None:
    promoted = registry_store.make_run(locations, "2017-12-31")
    decision = promoted.decide(locations)
    assert (gather(locations, decision).published, decision.acts) == (None, True)
    version = promoted.publish(locations, decision).version
    found = gather(locations, decision)
    assert (found.published, found.became_champion) == (version, True)
    storage.delete(locations.champion(registry_store.NAME))
    assert not gather(locations, decision).became_champion


def test_the_profile_is_compared_with_the_newest_decision_of_a_snapshot(
    locations: Locations,
) -> None:
    for run_key, day, users in (("a-first", 1, 10), ("b-last", 9, 11), ("c-second", 2, 12)):
        at = attempt(
            "2017-11-30", run_key=run_key, decided_at=dt.datetime(2018, 1, day, tzinfo=dt.UTC)
        )
        registry.record_decision(locations, decide(full_report(), Policy(), at, CHAMPION))
        run = locations.run("shop", dt.date(2017, 11, 30), run_key)
        storage.write_json(join(run.dataset, "profile.json"), {**PROFILE, "users": users})
    found = gather(locations, decided(locations))
    assert found.earlier is not None
    assert found.earlier["users"] == 11


def test_the_profile_is_compared_with_the_newest_older_snapshot(locations: Locations) -> None:
    for snapshot, users in (("2017-10-31", 10), ("2017-11-30", 11), ("2018-01-31", 12)):
        decided(locations, snapshot)
        run = locations.run("shop", dt.date.fromisoformat(snapshot), "manual-1")
        storage.write_json(join(run.dataset, "profile.json"), {**PROFILE, "users": users})
    found = gather(locations, decided(locations))
    assert found.earlier_snapshot == "2017-11-30"
    assert found.earlier is not None
    assert found.earlier["users"] == 11


def test_the_checks_say_what_the_profile_is_compared_with(locations: Locations) -> None:
    uri = join(locations.work, "elsewhere.json")
    storage.write_json(uri, {**PROFILE, "users": 77})
    run = locations.run("shop", dt.date(2017, 12, 31), "manual-1")
    checks = {**CHECKS, "compared_with": {"snapshot": "2017-10-31", "profile": uri}}
    storage.write_json(join(run.root, "checks", "checks.json"), checks)
    found = gather(locations, decided(locations))
    assert found.earlier_snapshot == "2017-10-31"
    assert found.earlier is not None
    assert found.earlier["users"] == 77

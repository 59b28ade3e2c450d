"""What each command of the models' command line says, changes and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import model_store
import pytest
from registry_store import NAME, make_run, places, promote

from recommender import registry, storage
from recommender.cli.__main__ import main, parser
from recommender.locations import MANIFEST, Locations, join


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return places(str(tmp_path))


@pytest.fixture
def versions(locations: Locations) -> list[str]:
    """Three champions in turn, the last one in place, and a refusal."""
    dates = ("2017-10-31", "2017-11-30", "2017-12-31")
    made = [promote(locations, d, f"run-{d}", recall=0.2 + n / 100) for n, d in enumerate(dates)]
    for date in dates:
        case = make_run(locations, date, f"run-{date}")
        registry.record_decision(locations, case.decide(locations))
    weak = make_run(locations, "2018-01-31", "weak", recall=0.05)
    registry.record_decision(locations, weak.decide(locations))
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def champion(locations: Locations) -> str:
    found = registry.load_champion(locations, NAME)
    assert found is not None
    return found[0].version


def test_list_marks_the_champion_and_what_is_unfinished(
    locations: Locations, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write(join(locations.version(NAME, "2018-01-31-00000000"), "users.parquet"), b"users")
    rows = document(capsys, "list")
    assert [(r["version"], r["state"]) for r in rows] == [
        (versions[0], "promoted"),
        (versions[1], "promoted"),
        (versions[2], "champion"),
        ("2018-01-31-00000000", "unfinished"),
    ]
    assert rows[2]["recall"] == pytest.approx(0.22)
    lines = said(capsys, "list").splitlines()
    assert lines[0].split()[:3] == ["version", "state", "snapshot"]
    assert len(lines) == 5


def test_show_says_what_the_manifest_says(
    locations: Locations, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = document(capsys, "show", versions[0])
    assert shown["about"]["run_key"] == "run-2017-10-31"
    assert set(shown["files"]) >= {"users.parquet", "report.json", "decision.json"}
    text = said(capsys, "show", versions[0])
    assert locations.version(NAME, versions[0]) in text
    assert "popularity_recent" in text


@pytest.mark.parametrize("subject", ["version", "run key"])
def test_why_gives_the_decision_in_words_and_what_became_of_it(
    versions: list[str], capsys: pytest.CaptureFixture[str], subject: str
) -> None:
    said(capsys, "rollback", "--reason", "lists look odd", "--by", "ada")
    asked = versions[2] if subject == "version" else "run-2017-12-31"
    text = said(capsys, "why", asked)
    assert "beats_baseline" in text
    assert "the strongest baseline" in text
    found = document(capsys, "why", asked)
    assert found["version"] == versions[2]
    assert [(e["record"], e["event"], e["reason"]) for e in found["records"]][1:] == [
        (4, f"rolled back to {versions[1]}", "lists look odd")
    ]


def test_why_a_run_was_refused_and_that_nobody_decided_on_another(
    versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "why", "weak")
    assert text.startswith("refused: Recall@20 is 0.05, 50.0% below the strongest baseline")
    assert "it was never champion" in text
    assert "nothing was decided under that name" in said(capsys, "why", "nobody", code=3)


def test_why_still_answers_for_a_version_that_was_pruned(
    versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "prune", "--last", "1", "--champions", "2", "--delete", "--reason", "storage")
    assert versions[0] in said(capsys, "list")  # a rollback may need it
    said(capsys, "promote", versions[1], "--reason", "a test")
    said(capsys, "prune", "--last", "1", "--champions", "2", "--delete", "--reason", "storage")
    found = document(capsys, "why", versions[0])
    assert found["records"][-1]["event"] == "pruned"
    assert "was pruned on" in said(capsys, "promote", versions[0], "--reason", "x", code=3)


def test_promote_and_rollback_move_the_champion_and_say_so(
    locations: Locations, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = versions
    line = said(capsys, "rollback", third, "--reason", "odd lists", "--by", "ada")
    assert line == f"champion is {second}, it was {third}\n"
    again = said(capsys, "rollback", third, "--reason", "odd lists")
    assert again == f"nothing to do: champion is {second} already\n"
    moved = document(capsys, "promote", first, "--reason", "a test")
    assert (moved["moved"], moved["before"], champion(locations)) == (True, second, first)
    records = document(capsys, "champions")
    assert [r["change"]["action"] for r in records] == ["promotion"] * 3 + ["rollback", "manual"]
    assert "odd lists" in said(capsys, "champions")


def test_what_somebody_else_has_changed_is_exit_code_4(
    locations: Locations, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    error = said(capsys, "rollback", versions[0], "--reason", "late", code=4)
    assert error.startswith(f"error: expected champion {versions[0]}, found {versions[2]}")
    said(capsys, "promote", versions[1], "--expect", versions[0], "--reason", "late", code=4)
    assert champion(locations) == versions[2]


@pytest.mark.parametrize(
    "command", [["promote", "2017"], ["rollback", "--to", "2017"], ["prune", "--keep", "2017"]]
)
def test_a_name_that_is_no_version_changes_nothing_and_is_told(
    locations: Locations,
    versions: list[str],
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    error = said(capsys, *command, "--reason", "typed in a hurry", code=3)
    assert "2017" in error
    if command[0] != "prune":
        assert error.rstrip().endswith(f"the newest are: {', '.join(versions)}")
    assert champion(locations) == versions[2]


@pytest.mark.parametrize("option", ["--k", "--users"])
def test_a_comparison_of_nothing_is_no_traceback(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", "a", "b", option, "0"])
    assert ended.value.code == 2
    assert "expected a whole number of 1 or more, found '0'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["promote", "x"], ["rollback"], ["show"], ["recommend"]])
def test_what_is_missing_is_said_before_anything_is_read(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "the following arguments are required" in capsys.readouterr().err


def test_an_empty_reason_is_none(versions: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected a reason" in said(capsys, "rollback", "--reason", " ", code=3)
    assert "expected a reason" in said(capsys, "prune", "--last", "1", "--delete", code=3)


def test_prune_shows_first_and_deletes_when_told(
    locations: Locations, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    older = promote(locations, "2017-09-30", "registered")
    keep = ("--last", "2", "--champions", "2")
    shown = document(capsys, "prune", *keep)
    assert next((v["version"], v["fate"]) for v in shown["versions"]) == (older, "would go")
    assert older in storage.list_children(locations.versions(NAME))
    text = said(capsys, "prune", *keep, "--delete", "--reason", "storage")
    assert text.splitlines()[-1].startswith("1 of 4 versions, ")
    assert text.endswith("deleted\n")
    assert storage.list_children(locations.versions(NAME)) == sorted(versions)
    assert "nowhere to go" in said(capsys, "prune", "--champions", "1", code=3)


def test_history_tabulates_and_draws_every_decision_by_snapshot(
    tmp_path: Path, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = document(capsys, "history")
    assert [r["snapshot"] for r in rows] == ["2017-10-31", "2017-11-30", "2017-12-31", "2018-01-31"]
    assert [r["verdict"] for r in rows][-1] == "refused"
    assert rows[-1]["uplift"] == pytest.approx(-0.5)
    plot = tmp_path / "plots" / "quality.svg"
    assert f"drawn into {plot}" in said(capsys, "history", "--plot", str(plot))
    drawn = plot.read_text()
    assert drawn.startswith("<?xml")
    assert "2018-01-31" in drawn or "<path" in drawn
    assert "expected a file name that ends in" in said(
        capsys, "history", "--plot", str(tmp_path / "x.doc"), code=3
    )


def test_diff_shows_settings_metrics_and_overlap_of_two_fitted_models(
    locations: Locations, capsys: pytest.CaptureFixture[str]
) -> None:
    store, one, other = model_store.Store(locations.models), "2017-11-30-1", "2017-12-31-2"
    store.publish(one, seed=0)
    store.publish(other, seed=1)
    found = document(capsys, "diff", one, other, "--k", "5")
    assert found["versions"] == [one, other]
    assert found["lists"]["users in both"] == model_store.USERS
    assert 0 <= found["lists"]["mean overlap of their top 5"] < 1
    same = document(capsys, "diff", one, one, "--k", "5")
    assert same["lists"]["mean overlap of their top 5"] == 1
    assert same["facts"] == {}
    assert f"A is {one}, B is {other}" in said(capsys, "diff", one, other)


def test_recommend_and_similar_ask_the_champion_or_a_named_version(
    locations: Locations, capsys: pytest.CaptureFixture[str]
) -> None:
    store, version = model_store.Store(locations.models), "2017-11-30-1"
    store.publish(version)
    assert "expected a champion of shop, found none" in said(
        capsys, "recommend", "--user", "u000", code=3
    )
    store.promote(version)
    user, item = "u000", "i000"
    answers = document(capsys, "recommend", "--user", user, "--user", "stranger", "--k", "3")
    assert [(a["user"], a["source"], len(a["items"])) for a in answers] == [
        (user, "personal", 3),
        ("stranger", "popular", 3),
    ]
    (near,) = document(capsys, "similar", "--item", item, "--version", version)
    assert item not in [entry["item"] for entry in near["items"]]
    assert "found nonsense" in said(capsys, "similar", "--item", "nonsense", code=3)
    text = said(capsys, "recommend", "--user", user, "--k", "3")
    assert text.splitlines()[0] == f"version {version}"
    assert len(text.splitlines()) == 6
    assert "title" not in text


def test_titles_are_shown_where_the_version_knows_them(
    locations: Locations, capsys: pytest.CaptureFixture[str]
) -> None:
    store, version = model_store.Store(locations.models), "2017-11-30-1"
    store.publish(version, titled=True)
    store.promote(version)
    (near,) = document(capsys, "similar", "--item", "i000", "--k", "3")
    assert all(one["title"] == f"Title {int(one['item'][1:])}" for one in near["items"])
    text = said(capsys, "recommend", "--user", "u000", "--k", "3")
    assert text.splitlines()[2].split()[-1] == "title"
    assert text.count("Title ") == 3


def test_a_damaged_version_is_named_and_not_asked(
    locations: Locations, capsys: pytest.CaptureFixture[str]
) -> None:
    store, version = model_store.Store(locations.models), "2017-11-30-1"
    store.publish(version)
    store.promote(version)
    uri = locations.version(NAME, version)
    name = next(n for n in storage.read_json(join(uri, MANIFEST))["files"] if "item_factors" in n)
    data = storage.read(join(uri, name)).data
    storage.write(join(uri, name), data[:-1] + bytes([data[-1] ^ 1]))
    assert name in said(capsys, "recommend", "--user", "u000", code=3)


def test_every_command_is_documented_and_nothing_else_is(root: Path) -> None:
    pages = {path.name: path.read_text() for path in (root / "docs").glob("*.md")}
    commands = next(action for action in parser()._actions if action.dest == "command").choices
    assert commands is not None
    for command in commands:
        assert any(f"recsys {command}" in text for text in pages.values()), command
    headings = re.findall(r"^## recsys (\S+)$", pages["command-line.md"], re.MULTILINE)
    assert set(headings) <= set(commands)
    assert len(headings) == len(set(headings)) >= 11

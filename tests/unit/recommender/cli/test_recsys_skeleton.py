"""The command line's skeleton: what is refused before any work, output, exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest

from recommender.cli.__main__ import main
from recommender.cli.output import Table, show


def test_an_empty_store_is_an_answer_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "no version of shop has been published yet\n"
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_options_are_understood_before_and_after_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--recommender", "books", "list"]) == 0
    before = capsys.readouterr().out
    assert main(["list", "--recommender", "books"]) == 0
    after = capsys.readouterr().out
    assert after == before == "no version of books has been published yet (configured: shop)\n"


def test_an_embedded_aws_that_nobody_pointed_at_is_never_looked_for_in_a_real_account(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "--environment", "played"]) == 3
    assert 'eval "$(make env)"' in capsys.readouterr().err


def test_several_recommenders_have_to_be_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recommenders/books.yaml").write_text("name: books\ndescription: d\ndataset: b\n")
    assert main(["list"]) == 3
    assert capsys.readouterr().err.endswith("configured: books, shop\n")


def test_a_version_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "2017-01-01-0"]) == 3
    assert "found no '2017-01-01-0'" in capsys.readouterr().err


def test_the_installed_command_needs_no_python_path(root: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [root / ".venv/bin/recsys", "list"],
        env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "no version of shop has been published yet\n")


def test_tables_in_a_pipe_are_aligned_and_never_cut_or_coloured() -> None:
    stream = io.StringIO()
    long = "x" * 300
    rows = [("a", 1234, 0.123456, None), (long, 5, 1.0, "\x1b[31mred[/bold]")]
    show(["first", Table(("name", "rows", "recall", "note"), rows)], stream)
    first, empty, head, one, two = stream.getvalue().splitlines()
    assert (first, empty) == ("first", "")
    assert head.split() == ["name", "rows", "recall", "note"]
    assert one.split() == ["a", "1,234", "0.1235", "-"]
    assert two.split() == [long, "5", "1", "\\x1b[31mred[/bold]"]
    assert head.index("rows") + len("rows") == one.index("1,234") + len("1,234")

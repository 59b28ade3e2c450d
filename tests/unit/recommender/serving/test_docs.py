"""The example of docs/serving.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from model_store import Store


def test_the_example_of_the_page_runs(
    store: Store, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (root / "docs" / "serving.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "docs/serving.md", "exec"), {"models": store.models})  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    assert printed[0].startswith("u001 personal ('i")
    assert printed[1].startswith("somebody new popular ('i")
    assert all(line.count("'i") == 5 for line in printed)

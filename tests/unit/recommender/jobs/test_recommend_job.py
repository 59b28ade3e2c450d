"""Recommendations for everyone: the evaluator's lists, complete or absent, nothing denied in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from implicit.cpu.als import AlternatingLeastSquares

from recommender import artifact, manifest, storage
from recommender.batch import audience
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.distributed import tables
from recommender.interactions import merge
from recommender.jobs import recommend, train
from recommender.models import Als
from recommender.models.als.weighted import weighted
from recommender.serving import load_model

Build = Callable[..., str]
Run = Callable[..., int]
N = 6


@pytest.fixture
def published(run: Run, build: Build, tmp_path: Path) -> tuple[str, str]:
    """Return a dataset and a version trained on it, with half life and balance."""
    dataset, version = build(), str(tmp_path / "versions" / "v1")
    extra = ["train.search=null", "train.als.half_life_days=40", "train.als.user_balance=0.3"]
    sets = [text for one in extra for text in ("--set", one)]
    assert run(train, *sets, dataset=dataset, output=version) == 0
    document = storage.read_json(f"{version}/manifest.json")
    storage.write_json(f"{version}/manifest.json", {**document, "kind": "version"})
    return dataset, version


def lists(output: str, folder: str = "users", key: str = "user_id") -> dict[str, Any]:
    """Read all files as a reader would: id -> rows in the order in which they are stored."""
    table = pa.concat_tables(
        pq.ParquetFile(path).read() for path in sorted(Path(output, folder).glob("*.parquet"))
    )
    found: dict[str, Any] = {}
    for row in table.to_pylist():
        found.setdefault(row[key], []).append(row)
    return found


def expected(dataset_uri: str, version: str) -> dict[str, tuple[str, list[str], list[float]]]:
    """Rank with the evaluator's model and with implicit's own fold-in: id -> source, items, scores."""
    dataset, model = open_dataset(dataset_uri), artifact.load(version).models["als"]
    assert isinstance(model, Als)
    fit = merge(dataset.window(TRAIN), dataset.window(VALIDATION))
    full = merge(fit, dataset.window(TEST))
    engine = AlternatingLeastSquares(
        factors=model.settings.factors,
        alpha=model.settings.alpha,
        regularization=model.settings.regularization,
    )
    engine.user_factors, engine.item_factors = model.user_factors, model.item_factors
    weights = weighted(full, model.settings)
    # The balance counts against the median of the fit, not of the longer history.
    typical = [np.median(np.diff(rows.indptr)[np.diff(rows.indptr) > 0]) for rows in (full, fit)]
    weights = weights * (typical[1] / typical[0]) ** model.settings.user_balance
    seen, found = full.matrix(), {}
    for user, name in enumerate(dataset.users.to_pylist()):
        changed = (
            full.indptr[user + 1] - full.indptr[user] > fit.indptr[user + 1] - fit.indptr[user]
        )
        if changed:
            factors = engine.recalculate_user(np.array([user]), weights[user])
            scores = (factors @ model.item_factors.T)[0]
            scores[seen[user].indices] = -np.inf
            items = np.lexsort((-scores,))[:N]
            values = scores[items]
        else:
            ranked = model.recommend(np.array([user], np.int32), N, seen)
            items, values = ranked.items[0], ranked.scores[0]
        ids = dataset.items.take(pa.array(items)).to_pylist()
        found[name] = ("folded_in" if changed else "personal", ids, values.tolist())
    return found


def test_every_row_is_the_evaluators_or_the_fold_in_of_implicit(
    run: Run, published: tuple[str, str], tmp_path: Path
) -> None:
    dataset, version = published
    output = str(tmp_path / "out")
    sets = ["--set", f"recommend.n={N}"]
    assert run(recommend, *sets, version=version, dataset=dataset, output=output) == 0
    found, wanted = lists(output), expected(dataset, version)
    assert list(found) == sorted(wanted)
    for user, rows in found.items():
        source, items, scores = wanted[user]
        assert [row["rank"] for row in rows] == list(range(1, N + 1))
        assert {(row["source"], row["version"]) for row in rows} == {(source, "v1")}
        assert [row["item_id"] for row in rows] == items
        assert [row["score"] for row in rows] == pytest.approx(scores, rel=1e-3, abs=1e-5)
    summary = storage.read_json(f"{output}/summary.json")
    assert {source for source, _, _ in wanted.values()} == {"personal", "folded_in"}
    assert summary["users"] == 120 == summary["users_personal"] + summary["users_folded_in"]
    assert summary["user_rows"] == 120 * N
    assert manifest.verify(output, "recommendations").about["version"] == "v1"


@pytest.mark.parametrize("names", [("RANGE_USERS", 17), ("RANGE_ROWS", 100)])
def test_users_read_range_by_range_get_the_same_lists(
    run: Run,
    published: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, int],
) -> None:
    dataset, version = published
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    assert run(recommend, version=version, dataset=dataset, output=whole) == 0
    reads, read = [], tables.read

    def counted(table: Any, first: int, last: int, columns: Any) -> Any:
        reads.append((first, last))
        return read(table, first, last, columns)

    monkeypatch.setattr(tables, "read", counted)
    monkeypatch.setattr(audience, *names)
    assert run(recommend, version=version, dataset=dataset, output=cut) == 0
    assert len(set(reads)) > 3
    found, expected = lists(cut), lists(whole)
    for user, rows in expected.items():
        scores = [row.pop("score") for row in rows]  # a product of other size rounds otherwise
        assert [row.pop("score") for row in found[user]] == pytest.approx(scores, rel=1e-5)
    assert found == expected
    counts = [storage.read_json(f"{output}/summary.json") for output in (cut, whole)]
    for name in ("users_personal", "users_folded_in", "users_popular", "user_rows"):
        assert counts[0][name] == counts[1][name]


def test_similar_items_and_the_popular_list_come_along(
    run: Run, published: tuple[str, str], tmp_path: Path
) -> None:
    dataset, version = published
    output = str(tmp_path / "out")
    assert run(recommend, version=version, dataset=dataset, output=output) == 0
    items = lists(output, "items", "item_id")
    assert len(items) == 80
    for item, rows in items.items():
        assert len(rows) == 20
        assert item not in {row["similar_item_id"] for row in rows}
        scores = [row["score"] for row in rows]
        assert scores == sorted(scores, reverse=True)
        assert max(scores) <= 1.00001
    (popular,) = lists(output, "popular").values()
    counts = artifact.load(version).models["popularity"].counts  # type: ignore[attr-defined]
    assert popular[0]["score"] == counts.max()
    assert popular[0]["user_id"] == ""


def test_denied_items_are_nowhere(run: Run, published: tuple[str, str], tmp_path: Path) -> None:
    dataset, version = published
    denied = ["i0000", "i0001", "i0005"]
    deny = tmp_path / "deny.txt"
    deny.write_text("\n".join([*denied, "", "no such item", denied[0]]) + "\n")
    output = str(tmp_path / "out")
    sets = ["--set", f"recommend.deny_list={deny}"]
    assert run(recommend, *sets, version=version, dataset=dataset, output=output) == 0
    texts = json.dumps([lists(output), lists(output, "popular"), lists(output, "items", "item_id")])
    assert "i0002" in texts
    assert not [item for item in denied if item in texts]
    summary = storage.read_json(f"{output}/summary.json")
    assert (summary["denied"], summary["denied_unknown"]) == (3, 1)


def test_a_missing_deny_list_is_an_error_and_leaves_nothing(
    run: Run, published: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, version = published
    output = str(tmp_path / "out")
    sets = ["--set", f"recommend.deny_list={tmp_path / 'gone.txt'}"]
    assert run(recommend, *sets, version=version, dataset=dataset, output=output) == 3
    assert "nobody knows what must not be recommended" in capsys.readouterr().err.splitlines()[-1]
    assert not storage.list_files(output)


def test_finished_lists_stay_as_they_are_and_unfinished_ones_are_replaced(
    run: Run, published: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, version = published
    output = str(tmp_path / "out")
    uris = {"version": version, "dataset": dataset, "output": output}
    assert run(recommend, **uris) == 0
    before = {file.uri: storage.read(file.uri).data for file in storage.list_files(output)}
    assert run(recommend, **uris) == 0  # the same request again
    assert run(recommend, "--set", "recommend.n=3", **uris) == 3
    assert "readers may be at them" in capsys.readouterr().err.splitlines()[-1]
    assert before == {file.uri: storage.read(file.uri).data for file in storage.list_files(output)}
    Path(output, "manifest.json").unlink()  # as a killed run leaves it
    assert run(recommend, "--set", "recommend.n=3", **uris) == 0
    assert {len(rows) for rows in lists(output).values()} == {3}


def test_a_newer_dataset_brings_users_and_items_that_the_version_does_not_know(
    run: Run, published: tuple[str, str], build: Build, tmp_path: Path
) -> None:
    """Who has known items is folded in; who has none keeps the factors that the version has."""
    _, version = published
    newer = build("newer", seed=1, shift_days=30)
    for folder, kind, changed in (
        ("users", "user", {7: "new user"}),
        ("items", "item", {79: "new item"}),
    ):
        path = Path(newer, folder, "part-0.parquet")
        ids = pq.ParquetFile(path).read().column(f"{kind}_id").to_pylist()
        for place, name in changed.items():
            ids[place] = name
        pq.write_table(
            pa.table({kind: pa.array(range(len(ids)), pa.int32()), f"{kind}_id": ids}), path
        )
    for window in ("train", "validation", "test"):  # the user of index 8 has the new item alone
        path = Path(newer, window, "part-0.parquet")
        table = pq.ParquetFile(path).read()
        keep = np.asarray(table["user"]) != 8
        only = pa.table(
            {
                **{n: table[n][:1] for n in table.column_names},
                "user": pa.array([8], pa.int32()),
                "item": pa.array([79], pa.int32()),
            }
        )
        pq.write_table(
            pa.concat_tables([table.filter(pa.array(keep)), only.cast(table.schema)]), path
        )
    profile = storage.read_json(f"{newer}/profile.json")
    Path(newer, "manifest.json").unlink()
    storage.write_json(f"{newer}/profile.json", profile)
    manifest.seal(newer, "dataset", {"format": "events"})
    output = str(tmp_path / "out")
    assert run(recommend, version=version, dataset=newer, output=output) == 0
    found = lists(output)
    assert found["new user"][0]["source"] == "folded_in"
    assert found["u0008"][0]["source"] == "personal"
    assert "new item" not in {row["item_id"] for rows in found.values() for row in rows}
    assert len(found) == 120


def test_json_lines_hold_the_same_lists(
    run: Run, published: tuple[str, str], tmp_path: Path
) -> None:
    dataset, version = published
    columns, lines = str(tmp_path / "parquet"), str(tmp_path / "jsonl")
    assert run(recommend, version=version, dataset=dataset, output=columns) == 0
    sets = ["--set", "recommend.format=jsonl"]
    assert run(recommend, *sets, version=version, dataset=dataset, output=lines) == 0
    (path,) = Path(lines, "users").glob("*.jsonl.gz")
    with gzip.open(path, "rt") as file:
        read = {entry["user_id"]: entry for entry in map(json.loads, file)}
    for user, rows in lists(columns).items():
        assert read[user]["source"] == rows[0]["source"]
        assert [item["item_id"] for item in read[user]["items"]] == [row["item_id"] for row in rows]
        assert [item["score"] for item in read[user]["items"]] == [row["score"] for row in rows]


def add_titles(dataset: str) -> dict[str, str]:
    """Give every other item a title; some share one."""
    titles = {f"i{place:04d}": f"Title {place % 9}" for place in range(0, 80, 2)}
    folder = Path(dataset, "items_metadata")
    folder.mkdir()
    table = pa.table({"item_id": list(titles), "title": list(titles.values())})
    full = {n: pa.nulls(len(titles), pa.string()) for n in ("category", "brand")}
    for name, values in {**full, "price": pa.nulls(len(titles), pa.float64())}.items():
        table = table.append_column(name, values)
    pq.write_table(table, folder / "part-00000.parquet")
    Path(dataset, "manifest.json").unlink()
    manifest.seal(dataset, "dataset", {"format": "events"})
    return titles


def test_titles_are_given_where_they_are_known(
    run: Run, published: tuple[str, str], tmp_path: Path
) -> None:
    dataset, version = published
    titles = add_titles(dataset)
    output = str(tmp_path / "out")
    assert run(recommend, version=version, dataset=dataset, output=output) == 0
    rows = [row for rows in lists(output).values() for row in rows]
    assert {row["title"] is None for row in rows} == {True, False}
    assert all(row["title"] == titles.get(row["item_id"]) for row in rows)


def test_a_version_keeps_the_titles_that_it_was_trained_beside(
    run: Run, build: Build, tmp_path: Path
) -> None:
    named, bare, version = build("named"), build("bare"), str(tmp_path / "versions" / "v1")
    titles = add_titles(named)
    assert run(train, "--set", "train.search=null", dataset=named, output=version) == 0
    model = load_model(version, "candidate", "v1")
    assert model.titles(["i0002", "i0001", "no such item"]) == [titles["i0002"], None, None]
    document = storage.read_json(f"{version}/manifest.json")
    storage.write_json(f"{version}/manifest.json", {**document, "kind": "version"})
    output = str(tmp_path / "out")
    assert run(recommend, version=version, dataset=bare, output=output) == 0
    rows = [row for rows in lists(output, "items", "item_id").values() for row in rows]
    assert all(row["title"] == titles.get(row["similar_item_id"]) for row in rows)

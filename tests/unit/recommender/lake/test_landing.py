"""From a download to a dated snapshot: whole, unchanged ever after, or not there for anybody."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from recommender import manifest, storage
from recommender.cli.__main__ import main
from recommender.errors import BadDataError, ConflictError, SnapshotError
from recommender.lake import landing, snapshots
from recommender.lake.snapshots import State
from recommender.locations import MANIFEST, UPLOADING, Locations, join
from recommender.sources.snapshot import open_snapshot

EVENT = {"user_id": "u", "item_id": "i", "timestamp": "2017-01-01T00:00:00Z"}
DATE = dt.date(2024, 3, 31)


@pytest.fixture(params=["local", "s3"])
def locations(request: pytest.FixtureRequest, tmp_path: Path) -> Locations:
    lake = request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "lake")
    return Locations(lake, "work", "models")


@pytest.fixture
def target(locations: Locations) -> str:
    return locations.snapshot("shop", DATE)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Three raw files, one of them plain, and metadata."""
    folder = tmp_path / "download"
    (folder / "items").mkdir(parents=True)
    for number, name in enumerate(("a.json.gz", "b.json", "c.jsonl.gz"), 1):
        write(folder / name, [{**EVENT, "user_id": f"{name} {n}"} for n in range(10 * number)])
    write(folder / "items" / "meta.json.gz", [{"item_id": "i", "title": "Tea"}])
    (folder / "README.txt").write_text("how it was made")
    return folder


def write(path: Path, records: list[Any]) -> None:
    data = "\n".join(json.dumps(record) for record in records).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def names(uri: str) -> list[str]:
    return [file.uri.removeprefix(f"{uri}/") for file in storage.list_files(uri)]


def land(download: Path, target: str) -> bool:
    return landing.land(download, None, target, "auto")[1]


def break_off(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Let the upload of one file fail; return the list of what is uploaded."""
    sent: list[str] = []

    def upload(path: Path, uri: str, **kwargs: Any) -> None:
        if path.name == name:
            message = "connection lost"
            raise OSError(message)
        whole(path, uri, **kwargs)
        sent.append(path.name)

    whole = storage.upload
    monkeypatch.setattr(storage, "upload", upload)
    return sent


def test_a_download_becomes_a_sealed_snapshot(download: Path, target: str) -> None:
    made, written = landing.land(download, None, target, "auto")
    assert written
    assert names(target) == ["a.json.gz", "b.json", "c.jsonl.gz", "items/meta.json.gz", MANIFEST]
    sealed = manifest.verify(target, snapshots.KIND)  # reads every byte
    assert sealed == made
    assert sealed.about["format"] == "events"
    assert (sealed.about["rows"], sealed.about["items"]) == (60, 1)
    assert sealed.about["rows_by_file"]["b.json"] == 20  # its last line has no end
    digest = hashlib.sha256((download / "a.json.gz").read_bytes()).hexdigest()
    assert sealed.files["a.json.gz"].sha256 == digest
    assert [f.uri.rsplit("/")[-1] for f in open_snapshot(target, "events").files] == [
        "a.json.gz", "b.json", "c.jsonl.gz",
    ]  # fmt: skip


def test_one_file_with_metadata_from_elsewhere(download: Path, target: str, tmp_path: Path) -> None:
    write(tmp_path / "meta.json", [{"item_id": "i"}])
    landing.land(download / "a.json.gz", tmp_path / "meta.json", target, "events")
    assert names(target) == ["a.json.gz", "items/meta.json", MANIFEST]
    with pytest.raises(SnapshotError, match=r"expected metadata at .*nowhere"):
        landing.land(download, tmp_path / "nowhere", target, "events")
    write(tmp_path / "meta.json.gz", [{"item_id": "i"}])
    with pytest.raises(SnapshotError, match="found one twice"):
        landing.land(download, tmp_path / "meta.json.gz", target, "events")


def test_a_repeated_command_writes_nothing(
    download: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert land(download, target)
    monkeypatch.setattr(storage, "upload", None)
    monkeypatch.setattr(storage, "write_json", None)
    assert not land(download, target)


def test_another_snapshot_is_never_replaced(download: Path, target: str) -> None:
    land(download, target)
    before = {name: storage.sha256(join(target, name)) for name in names(target)}
    write(download / "b.json", [EVENT])
    with pytest.raises(ConflictError, match=r"another b\.json.*take another date"):
        land(download, target)
    (download / "b.json").unlink()
    with pytest.raises(ConflictError, match=r"it has b\.json, the download has not"):
        land(download, target)
    assert {name: storage.sha256(join(target, name)) for name in names(target)} == before


def test_files_that_came_by_other_means_are_left_alone(download: Path, target: str) -> None:
    storage.write(join(target, "part-0.json"), json.dumps(EVENT).encode())
    with pytest.raises(ConflictError, match="files without a manifest"):
        land(download, target)
    assert names(target) == ["part-0.json"]


def test_a_broken_upload_is_nobodys_snapshot_and_goes_on_where_it_ended(
    download: Path, target: str, locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = dt.date(2024, 2, 29)
    storage.write(join(locations.snapshot("shop", older), "part-0.json"), b"{}")
    with monkeypatch.context() as patch:
        sent = break_off(patch, "c.jsonl.gz")
        with pytest.raises(OSError, match="connection lost"):
            land(download, target)
    assert "a.json.gz" in sent
    assert UPLOADING in {file.rsplit("/")[-1] for file in storage.list_children(target)}
    assert not snapshots.is_present(locations, "shop", DATE)
    assert snapshots.newest(locations, "shop") == older
    assert "still uploading" in str(snapshots.missing(locations, "shop", DATE))
    with pytest.raises(SnapshotError, match="repeat the `recsys snapshot create`"):
        open_snapshot(target, "auto")

    write(download / "b.json", [EVENT])  # another download may not go on in its place
    with pytest.raises(ConflictError, match=r"another b\.json.*begin again"):
        land(download, target)
    write(download / "b.json", [{**EVENT, "user_id": f"b.json {n}"} for n in range(20)])
    again = break_off(monkeypatch, "none")
    assert land(download, target)
    assert "c.jsonl.gz" in again
    assert not set(again) & set(sent)
    assert snapshots.newest(locations, "shop") == DATE
    assert names(target)[-1] == MANIFEST


def test_what_is_torn_or_no_data_is_not_uploaded(download: Path, target: str) -> None:
    whole = (download / "a.json.gz").read_bytes()
    (download / "a.json.gz").write_bytes(whole[:-9])
    with pytest.raises(BadDataError, match=r"a\.json\.gz: gzip ends in mid-stream"):
        land(download, target)
    (download / "a.json.gz").write_bytes(whole[:40] + b"\xff" * 9 + whole[49:])
    with pytest.raises(BadDataError, match=r"a\.json\.gz: gzip is damaged"):
        land(download, target)
    (download / "a.json.gz").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(BadDataError, match=r"the download: .*an HTML page"):
        land(download, target)
    with pytest.raises(SnapshotError, match="found nothing"):
        land(download / "nowhere", target)
    with pytest.raises(SnapshotError, match=r"README\.txt"):
        land(download / "README.txt", target)
    assert names(target) == []


def test_a_file_that_changes_under_way_is_not_sealed(
    download: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upload(path: Path, uri: str, **kwargs: Any) -> None:
        if path.name == "b.json":
            path.write_text("{}")
        whole(path, uri, **kwargs)

    whole = storage.upload
    monkeypatch.setattr(storage, "upload", upload)
    with pytest.raises(BadDataError, match=r"b\.json: expected .*changed meanwhile"):
        land(download, target)
    assert snapshots.state_of(names(target)) is State.UPLOADING


def test_a_snapshot_that_differs_from_its_manifest_is_torn(download: Path, target: str) -> None:
    land(download, target)
    assert landing.describe(target)["state"] == "sealed"
    storage.write(join(target, "late.json"), b"{}")
    with pytest.raises(BadDataError, match=r"late\.json: expected no such file .* found 2"):
        open_snapshot(target, "auto")
    storage.delete(join(target, "late.json"))
    open_snapshot(target, "auto")
    storage.write(join(target, "b.json"), b"{}")
    assert landing.describe(target)["state"] == "torn"
    storage.delete(join(target, "items/meta.json.gz"))
    storage.write(join(target, "b.json"), (download / "b.json").read_bytes())
    with pytest.raises(BadDataError, match=r"items/meta\.json\.gz: expected .* found no such file"):
        open_snapshot(target, "auto")


def test_the_command_line_creates_lists_and_verifies(
    download: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "recommenders").mkdir()
    roots = "\n".join(f"{name}: {tmp_path}/{name}" for name in ("lake", "work", "models"))
    disk = f"name: disk\n{roots}\nemr: {{region: us-east-1, shapes: {{}}}}\n"
    (tmp_path / "environments/disk.yaml").write_text(disk)
    text = "name: shop\ndescription: d\ndataset: shop\n"
    (tmp_path / "recommenders/shop.yaml").write_text(text)
    monkeypatch.setenv("RECSYS_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("RECSYS_ENVIRONMENT", "disk")
    create = ["snapshot", "create", str(download), "--date"]
    assert main([*create, "2024-03-31"]) == 0
    assert "4 files, 60 rows, " in capsys.readouterr().out
    assert main([*create, "2024-03-31"]) == 0
    assert "there already, unchanged" in capsys.readouterr().out
    lake = tmp_path / "lake/snapshots/shop"
    (lake / "2024-02-29").mkdir()
    write(lake / "2024-02-29/plain.json", [EVENT])
    (lake / "2024-04-30").mkdir()
    (lake / "2024-04-30" / UPLOADING).write_text("{}")
    assert main(["snapshot", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    shown = [(r["date"], r["state"], r["files"], r["rows"], r["format"]) for r in rows]
    assert shown == [
        ("2024-02-29", "no manifest", 1, None, "events"),
        ("2024-03-31", "sealed", 3, 60, "events"),
        ("2024-04-30", "uploading", 0, None, None),
    ]
    assert rows[1]["bytes"] == sum(f.stat().st_size for f in download.rglob("*.json*"))
    assert main(["snapshot", "verify", "2024-03-31"]) == 0
    with (lake / "2024-03-31/b.json").open("r+b") as file:
        file.write(b"[")  # same size, other content
    capsys.readouterr()
    assert main(["snapshot", "verify", "2024-03-31"]) == 3
    assert "b.json: expected SHA-256" in capsys.readouterr().err
    for absent in ("2024-02-29", "2016-01-01"):
        assert main(["snapshot", "verify", absent]) == 3
        assert "`recsys snapshot create` writes one" in capsys.readouterr().err
    write(download / "b.json", [EVENT])
    assert main([*create, "2024-03-31"]) == 4
    with pytest.raises(SystemExit):
        main([*create, "yesterday"])

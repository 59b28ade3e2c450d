"""The reader follows the pointer, and nothing that is damaged is ever served."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from model_store import ITEMS, NAME, USERS, Store

from recommender import load_champion, storage
from recommender.errors import ManifestError, NotFoundError, StorageError

EVERYONE = [f"u{index:03d}" for index in range(USERS)]
READ = [
    "als/item_factors.npy",
    "als/model.json",
    "als/user_factors.npy",
    "history/history.json",
    "history/indptr.npy",
    "history/items.npy",
    "items.parquet",
    "popularity/counts.npy",
    "users.parquet",
]


def flip_a_byte(uri: str) -> None:
    data = bytearray(storage.read(uri).data)
    data[len(data) // 2] ^= 1
    storage.write(uri, bytes(data))


def truncate(uri: str) -> None:
    storage.write(uri, storage.read(uri).data[:-1])


def remove(uri: str) -> None:
    Path(uri).unlink()


def test_importing_the_reader_needs_nothing_that_trains(root: Path) -> None:
    program = (
        "import sys\n"
        "from recommender import load_champion, load_version\n"
        "extra = {'pyspark', 'airflow', 'implicit', 'pandas', 'optuna', 'pydantic', 'yaml', 'duckdb',\n"
        "         'threadpoolctl', 'boto3'} & set(sys.modules)\n"
        "assert not extra, extra\n"
    )
    environment = {"PYTHONPATH": str(root / "include")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)


def test_a_store_without_a_champion_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no version has been promoted yet"):
        load_champion(str(tmp_path), NAME)


@pytest.mark.parametrize("where", ["store", "store_on_s3"])
def test_a_moved_pointer_is_followed(where: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(where)
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    before = champion.recommend(EVERYONE, 5)
    assert not champion.refresh()
    store.publish("second", seed=1)
    assert not champion.refresh()  # published, not promoted
    store.promote("second")
    assert champion.version == "first"
    assert champion.refresh()
    assert champion.version == "second"
    after = champion.recommend(EVERYONE, 5)
    assert {ranked.version for ranked in after} == {"second"}
    assert [ranked.items for ranked in after] != [ranked.items for ranked in before]
    store.promote("first")  # a rollback
    assert champion.refresh()
    assert champion.recommend(EVERYONE, 5) == before


def test_the_pointer_is_followed_by_itself(store: Store) -> None:
    swapped = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "version second is in use, after first" in record.getMessage():
                swapped.set()

    logger, handler = logging.getLogger("recommender.serving.reader"), Seen()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with load_champion(store.models, NAME, refresh_seconds=0.02) as champion:
            store.publish("second", seed=1)
            store.promote("second")
            assert swapped.wait(30)
            assert champion.version == "second"
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, remove])
@pytest.mark.parametrize("name", READ)
def test_a_damaged_new_version_is_named_and_the_old_one_stays(
    store: Store, name: str, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    before = champion.recommend(EVERYONE, 5)
    store.publish("second", seed=1)
    store.promote("second")
    assert callable(damage)
    damage(f"{store.version('second')}/{name}")
    assert not champion.refresh()
    assert champion.version == "first"
    assert champion.recommend(EVERYONE, 5) == before
    message = caplog.records[-1].getMessage()
    assert message.startswith("version first stays in use: ")
    assert f"second/{name}" in message
    with pytest.raises(ManifestError, match=name):
        load_champion(store.models, NAME)


def test_a_manifest_that_was_not_promoted_is_refused(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    store.publish("second", seed=1)
    store.promote("second")
    store.publish("other", seed=2)
    for name in [*READ, "manifest.json"]:  # a whole version, but another one
        storage.copy(f"{store.version('other')}/{name}", f"{store.version('second')}/{name}")
    assert not champion.refresh()
    assert "second/manifest.json: expected SHA-256" in caplog.text
    assert champion.version == "first"


def test_a_damaged_version_is_not_fetched_at_every_look(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    store.publish("second", seed=1)
    store.promote("second")
    factors = f"{store.version('second')}/als/user_factors.npy"
    whole = storage.read(factors).data
    truncate(factors)
    assert not champion.refresh()
    storage.write(factors, whole)
    assert not champion.refresh()  # left alone for ten minutes
    monkeypatch.setattr("recommender.serving.reader._DAMAGED_SECONDS", 0.0)
    truncate(factors)
    champion._damaged = ("", 0.0)
    assert not champion.refresh()
    storage.write(factors, whole)
    assert champion.refresh()  # mended


def test_a_pointer_that_is_gone_or_garbled_changes_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    whole = storage.read(store.pointer).data
    storage.write(store.pointer, b"{}")
    assert not champion.refresh()
    assert "expected the champion's record" in caplog.text
    Path(store.pointer).unlink()
    assert not champion.refresh()
    assert len(champion.recommend(["u001"], 5)[0].items) == 5
    storage.write(store.pointer, whole)
    assert not champion.refresh()
    assert champion.version == "first"


def test_s3_out_of_reach_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    champion = load_champion(store.models, NAME, refresh_seconds=None)

    def refuse(*_: object) -> None:
        message = "S3 could not be reached"
        raise StorageError(message)

    monkeypatch.setattr(storage, "read_if_changed", refuse)
    assert not champion.refresh()
    assert "version first stays in use: S3 could not be reached" in caplog.text


def test_readers_never_see_a_mixture_while_versions_change(store: Store) -> None:
    """Eight threads ask while the pointer moves to and fro: each list is of one whole version."""
    store.publish("second", seed=1)
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    whole = {"first": champion.recommend(EVERYONE, ITEMS)}
    store.promote("second")
    assert champion.refresh()
    whole["second"] = champion.recommend(EVERYONE, ITEMS)
    done, wrong, seen = threading.Event(), list[str](), set[str]()

    def ask() -> None:
        while not done.is_set():
            found = champion.recommend(EVERYONE, ITEMS)
            seen.add(found[0].version)
            if found != whole[found[0].version]:
                wrong.append(found[0].version)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        store.promote("first" if turn % 2 == 0 else "second")
        assert champion.refresh()
    done.set()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert seen == {"first", "second"}


def test_the_files_of_a_replaced_version_are_removed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    champion = load_champion(store.models, NAME, refresh_seconds=None)
    first = list(tmp_path.glob("recsys-*"))
    store.publish("second", seed=1)
    store.promote("second")
    assert champion.refresh()
    left = list(tmp_path.glob("recsys-*"))
    assert len(left) == 1
    assert left != first

"""Whatever happens to a version's files, its readers refuse it and name the file."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from registry_store import NAME, champion, places, promote

from recommender import registry, storage
from recommender.errors import ManifestError, RecommenderError
from recommender.locations import MANIFEST, Locations, join

FILES = ("als/item_factors.npy", "users.parquet", "report.json", "decision.json", MANIFEST)


def flipped(place: Callable[[int], int]) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = place(len(data))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return flip


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "first byte flipped": flipped(lambda _: 0),
    "middle byte flipped": flipped(lambda size: size // 2),
    "last byte flipped": flipped(lambda size: size - 1),
    "truncated": lambda data: data[:-1],
    "emptied": lambda _: b"",
    "longer": lambda data: data + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_name(root: str, name: str, damage: str) -> None:
    locations = places(root)
    uri = join(locations.version(NAME, promote(locations, "2017-11-30")), name)
    storage.write(uri, DAMAGE[damage](storage.read(uri).data))
    with pytest.raises(RecommenderError) as refused:
        registry.load_champion(locations, NAME)
    assert name in str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(root: str, name: str) -> None:
    locations = places(root)
    storage.delete(join(locations.version(NAME, promote(locations, "2017-11-30")), name))
    with pytest.raises(ManifestError, match=name.replace(".", r"\.")):
        registry.load_champion(locations, NAME)


@pytest.mark.parametrize("name", ["als/extra.npy", "extra.json"])
def test_an_extra_file_is_refused_by_name(root: str, name: str) -> None:
    locations = places(root)
    version = promote(locations, "2017-11-30")
    storage.write(join(locations.version(NAME, version), name), b"extra")
    with pytest.raises(ManifestError, match=rf"{name} is in the directory but not in the manifest"):
        registry.load_version(locations, NAME, version)


def copied(locations: Locations, source: str, target: str, names: tuple[str, ...]) -> None:
    for name in names:
        storage.copy(
            join(locations.version(NAME, source), name), join(locations.version(NAME, target), name)
        )


@pytest.mark.parametrize("names", [(MANIFEST,), FILES], ids=["manifest", "everything"])
def test_an_older_versions_manifest_is_refused_even_with_all_its_files(
    root: str, names: tuple[str, ...]
) -> None:
    locations = places(root)
    old, new = promote(locations, "2017-11-30", "a"), promote(locations, "2017-12-31", "b")
    copied(locations, old, new, names)
    with pytest.raises(ManifestError, match=new):
        registry.load_champion(locations, NAME)
    with pytest.raises(ManifestError, match=new):
        registry.load_version(locations, NAME, new)


def test_a_manifest_of_another_format_is_refused(root: str) -> None:
    locations = places(root)
    version = promote(locations, "2017-11-30")
    uri = join(locations.version(NAME, version), MANIFEST)
    storage.write_json(uri, {**storage.read_json(uri), "format": 0})
    with pytest.raises(ManifestError, match="expected manifest format 1, found 0"):
        registry.load_version(locations, NAME, version)
    assert registry.read_champion(locations, NAME) is not None


def test_what_is_undamaged_is_read(root: str) -> None:
    locations = places(root)
    version = promote(locations, "2017-11-30")
    assert champion(locations).version == version

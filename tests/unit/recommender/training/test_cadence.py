"""A wide search is kept for the runs that follow, and only where it answers their question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recommender import artifact, config, storage
from recommender.artifact import Candidate
from recommender.errors import ConflictError
from recommender.interactions import SECONDS_PER_DAY as DAY
from recommender.interactions import Interactions
from recommender.jobs import train
from recommender.models import Als, Popularity
from recommender.models.als import Factors
from recommender.storage import write_json
from recommender.training import kept_setting, plans
from recommender.training.warm_start import from_champion

Build = Callable[..., str]
RECOMMENDER = config.Recommender(name="r", description="r", dataset="r")
TODAY = 100 * DAY
ASKED = plans.question(RECOMMENDER, TODAY)
SETTING = config.Als(alpha=33, iterations=5).model_dump()


def kept(days_old: float = 3, **changed: Any) -> dict[str, Any]:
    asked = plans.question(RECOMMENDER, TODAY - int(days_old * DAY))
    return {**kept_setting.document(asked, SETTING, 0.1, {"seed": 42}), **changed}


def mode(found: dict[str, Any] | None, *, wide: bool = False) -> str:
    return plans.plan(RECOMMENDER, ASKED, found, wide=wide).mode


def test_a_fresh_setting_of_the_same_question_serves() -> None:
    plan = plans.plan(RECOMMENDER, ASKED, kept(), wide=False)
    assert plan.mode == plans.LOCAL
    assert plan.start.alpha == 33
    assert plan.space.trials == 4


@pytest.mark.parametrize(
    "found",
    [
        None,
        kept(days_old=7),
        kept(days_old=-1),  # chosen on days that this run holds out
        kept(k=10),
        kept(space={**ASKED.space, "alpha": [1.0, 9.0]}),
        kept(space={**ASKED.space, "unobserved": 0.2}),
        kept(space={**ASKED.space, "filter_seen": False}),
    ],
    ids=[
        "none",
        "old",
        "of later data",
        "of another k",
        "of another space",
        "of another objective",
        "of other lists",
    ],
)
def test_else_a_wide_search_is_due(found: dict[str, Any] | None) -> None:
    assert mode(found) == plans.WIDE


def test_a_wide_search_may_be_asked_for_and_searching_may_be_off() -> None:
    assert mode(kept(), wide=True) == plans.WIDE
    off = RECOMMENDER.model_copy(update={"train": config.Train(search=None)})
    assert plans.plan(off, ASKED, kept(), wide=True).mode == plans.NONE


def test_the_newest_data_keeps_its_setting(tmp_path: Path) -> None:
    uri = str(tmp_path / "settings.json")
    assert kept_setting.read(uri) is None
    assert kept_setting.write(uri, kept(days_old=3))
    assert not kept_setting.write(uri, kept(days_old=30))
    assert kept_setting.read(uri) == kept(days_old=3)
    assert kept_setting.write(uri, kept(days_old=1))
    assert kept_setting.read(uri) == kept(days_old=1)


def test_a_writer_that_comes_in_between_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, races = str(tmp_path / "settings.json"), iter([kept(days_old=2), None])
    write = storage.write_json

    def race(*arguments: Any, **conditions: Any) -> str:
        other = next(races)
        if other is not None:
            write(uri, other)
        return write(*arguments, **conditions)

    monkeypatch.setattr(storage, "write_json", race)
    assert kept_setting.write(uri, kept(days_old=1))
    assert kept_setting.read(uri) == kept(days_old=1)


def test_a_place_that_never_rests_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any, **__: Any) -> str:
        raise ConflictError("lost")

    monkeypatch.setattr(storage, "write_json", lose)
    with pytest.raises(ConflictError, match="clear this task"):
        kept_setting.write(str(tmp_path / "settings.json"), kept())


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"format": 9}'])
def test_an_unreadable_setting_is_none_and_is_replaced(text: bytes, tmp_path: Path) -> None:
    uri = str(tmp_path / "settings.json")
    storage.write(uri, text)
    assert kept_setting.read(uri) is None
    assert kept_setting.write(uri, kept())
    assert kept_setting.read(uri) == kept()


def test_the_nightly_run_looks_around_what_the_wide_search_has_kept(
    build: Build, config: str, tmp_path: Path
) -> None:
    dataset, uri = build(), str(tmp_path / "settings.json")
    common = ["--config", config, "--dataset", dataset, "--kept-setting", uri]
    assert train.main([*common, "--output", str(tmp_path / "first")]) == 0
    first = storage.read_json(str(tmp_path / "first/search.json"))
    assert (first["mode"], first["keep"]["setting"]) == ("wide", first["chosen"]["setting"])
    assert first["keep"]["lineage"]["dataset"]["uri"] == dataset
    write_json(uri, first["keep"])
    assert train.main([*common, "--output", str(tmp_path / "second")]) == 0
    second = storage.read_json(str(tmp_path / "second/search.json"))
    assert second["mode"] == "local"
    assert "keep" not in second
    around, kept = second["trials"][0]["setting"], first["chosen"]["setting"]
    assert around | {"iterations": 0} == kept | {"iterations": 0}
    assert train.main([*common, "--wide", "--output", str(tmp_path / "third")]) == 0
    assert storage.read_json(str(tmp_path / "third/search.json"))["mode"] == "wide"


def test_a_retried_step_goes_on_with_the_trials_of_the_first(
    build: Build, config: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common = ["--config", config, "--dataset", build(), "--study", str(tmp_path / "study")]
    assert train.main([*common, "--output", str(tmp_path / "first")]) == 0
    with caplog.at_level("INFO", "recommender"):
        assert train.main([*common, "--output", str(tmp_path / "again")]) == 0
    assert "4 trials of an earlier attempt are taken up" in caplog.text
    first, again = (
        storage.read_json(str(tmp_path / n / "search.json")) for n in ("first", "again")
    )
    assert first["trials"] == again["trials"]
    with caplog.at_level("INFO", "recommender"):
        other = [*common, "--set", "train.seed=7", "--output", str(tmp_path / "other")]
        assert train.main(other) == 0
    assert "of another search" in caplog.text


def champion_of(users: list[str], items: list[str], fit_until: int) -> Candidate:
    als = Als(config.Als(factors=2))
    als.user_factors = np.arange(2 * len(users), dtype=np.float32).reshape(-1, 2)
    als.item_factors = -np.arange(2 * len(items), dtype=np.float32).reshape(-1, 2)
    models = {"als": als, "popularity": Popularity()}
    return Candidate(models, pa.array(users), pa.array(items), {"fit_until": fit_until})


def test_factors_are_mapped_by_id_and_unknown_rows_left_open() -> None:
    champion = champion_of(["a", "b"], ["p", "q"], fit_until=5)
    found = from_champion(champion, "uri", pa.array(["b", "new"]), pa.array(["q", "x", "p"]), 5)
    assert found is not None
    np.testing.assert_array_equal(found.factors.users, [[2, 3], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.factors.items, [[-2, -3], [np.nan, np.nan], [0, -1]])
    assert found.about == {"champion": "uri", "fit_until": 5, "known_users": 1, "known_items": 2}


def test_a_fit_from_the_champion_leaves_the_champion_as_it_is(
    window: Callable[[str], Interactions],
) -> None:
    data, settings = window("train"), config.Als(factors=8, alpha=20, iterations=1)
    users, items = (pa.array([f"{n:04d}" for n in range(length)]) for length in data.shape)
    model = Als(settings, 3, 1).fit(data)
    before = Factors(model.user_factors.copy(), model.item_factors.copy())
    champion = Candidate({"als": model}, users, items, {"fit_until": 1})
    found = from_champion(champion, "uri", users, items, 5)  # all known, all in the same order
    assert found is not None
    Als(settings, 3, 1).fit(data, start=found.factors)
    np.testing.assert_array_equal(model.user_factors, before.users)
    np.testing.assert_array_equal(model.item_factors, before.items)


def test_a_champion_of_later_data_is_no_start() -> None:
    champion = champion_of(["a"], ["p"], fit_until=6)
    assert from_champion(champion, "uri", pa.array(["a"]), pa.array(["p"]), 5) is None


def test_a_champion_without_als_is_no_start() -> None:
    champion = champion_of(["a"], ["p"], fit_until=1)
    del champion.models["als"]
    assert from_champion(champion, "uri", pa.array(["a"]), pa.array(["p"]), 5) is None


def test_going_on_from_a_fit_is_that_fit_gone_on(window: Callable[[str], Interactions]) -> None:
    data, settings = window("train"), config.Als(factors=8, alpha=20, iterations=3)
    half = Als(settings, 3, 1).fit(data)
    start = Factors(half.user_factors.copy(), half.item_factors.copy())
    gone_on = Als(settings, 3, 1).fit(data, start=start)
    whole = Als(settings.model_copy(update={"iterations": 6}), 3, 1).fit(data)
    np.testing.assert_array_equal(gone_on.item_factors, whole.item_factors)


def test_rows_of_newcomers_are_drawn_and_fitted(window: Callable[[str], Interactions]) -> None:
    data, settings = window("train"), config.Als(factors=8, alpha=20, iterations=3)
    half = Als(settings, 3, 1).fit(data)
    users, items = half.user_factors.copy(), half.item_factors.copy()
    users[5], items[7] = np.nan, np.nan
    found = Als(settings, 3, 1).fit(data, start=Factors(users.copy(), items.copy()))
    again = Als(settings, 3, 1).fit(data, start=Factors(users.copy(), items.copy()))
    assert np.isfinite(found.user_factors).all()
    np.testing.assert_array_equal(found.item_factors, again.item_factors)


def test_a_nightly_run_starts_from_its_champion_and_a_wide_one_does_not(
    build: Build, config: str, tmp_path: Path
) -> None:
    uri, champion = str(tmp_path / "settings.json"), str(tmp_path / "champion")
    common = ["--config", config, "--dataset", build(), "--kept-setting", uri]
    assert train.main([*common, "--output", champion]) == 0
    assert artifact.load(champion).about["training"]["warm_start"] is None
    write_json(uri, storage.read_json(f"{champion}/search.json")["keep"])
    common += ["--champion", champion]
    assert train.main([*common, "--output", str(tmp_path / "night")]) == 0
    night = artifact.load(str(tmp_path / "night"))
    assert night.about["training"]["warm_start"]["champion"] == champion
    assert night.about["training"]["warm_start"]["known_users"] == 120
    assert night.about["setting"]["iterations"] == 2
    assert train.main([*common, "--wide", "--output", str(tmp_path / "week")]) == 0
    assert artifact.load(str(tmp_path / "week")).about["training"]["warm_start"] is None


def test_no_warm_start_into_the_past(
    build: Build, config: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    later, output = str(tmp_path / "later"), str(tmp_path / "past")
    common = ["--config", config, "--set", "train.search=null"]
    later_data = build("later_data", shift_days=1)
    assert train.main([*common, "--dataset", later_data, "--output", later]) == 0
    past = [*common, "--dataset", build(), "--champion", later, "--output", output]
    with caplog.at_level("WARNING", "recommender"):
        assert train.main(past) == 0
    assert "no warm start" in caplog.text
    assert artifact.load(output).about["training"]["warm_start"] is None

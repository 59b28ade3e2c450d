"""The engine that fits: by the memory of the machine, before a cluster is asked for."""

from __future__ import annotations

import pytest

from recommender import config, environment
from recommender.clusters.shapes import Fleet, Shape
from recommender.clusters.sizing import GIB, Machine, of_shape, this_machine
from recommender.errors import ConfigError
from recommender.objective import AUTO, IMPLICIT, SPARK
from recommender.training.engine_choice import (
    Size,
    capacity,
    choose,
    directions,
    needed,
    require_measurable,
    seconds,
    size_of,
)

SMALL = Size(1_000_000, 30_000, 40_000)
HUGE = Size(5_000_000_000, 50_000_000, 10_000_000)
MACHINE = Machine("m5.4xlarge of shape single_node", 59 * GIB, 16)
TRAIN = config.Train()


@pytest.mark.parametrize(("size", "engine"), [(SMALL, IMPLICIT), (HUGE, SPARK)])
def test_auto_takes_the_cluster_only_for_what_the_machine_does_not_hold(
    size: Size, engine: str
) -> None:
    chosen = choose(AUTO, size, TRAIN, MACHINE)
    assert chosen.engine == engine
    assert chosen.why.startswith(
        f"{engine}, chosen by size: {size.rows:,} rows of {size.users:,} use"
    )
    assert "m5.4xlarge of shape single_node has 59.0 GiB" in chosen.why
    assert chosen.needed_gib == pytest.approx(
        (needed(size, 64) + directions(size, 64)) / GIB, abs=0.01
    )


def test_a_search_keeps_a_start_for_each_half_life_beside_its_trials() -> None:
    two = config.Train(search=config.Search(half_life_days=(None, 60.0)))
    one = choose(AUTO, HUGE, TRAIN, MACHINE).needed_gib
    more = choose(AUTO, HUGE, two, MACHINE).needed_gib - one
    assert more == pytest.approx(directions(HUGE, 64) / GIB, abs=0.02)


def test_short_rows_need_what_finding_the_start_takes() -> None:
    size = Size(30_000_000, 5_000_000, 1_000_000)  # five rows a user or item
    matrix_and_factors = 30_000_000 * 16 + 6_000_000 * (8 + 64 * 4)
    assert needed(size, 64) - GIB // 2 > 1.6 * matrix_and_factors


def test_one_row_more_than_fits_goes_to_the_cluster() -> None:
    rows = capacity(MACHINE)
    assert choose(AUTO, Size(rows, 0, 0), TRAIN, MACHINE).engine == IMPLICIT
    assert choose(AUTO, Size(rows + 1, 0, 0), TRAIN, MACHINE).engine == SPARK


def test_the_longest_factors_that_the_search_tries_count() -> None:
    longer = config.Train(search=config.Search(factors=(64, 256)))
    users = Size(1000, 60_000_000, 1)
    assert choose(AUTO, users, TRAIN, MACHINE).engine == IMPLICIT
    assert choose(AUTO, users, longer, MACHINE).engine == SPARK


def test_what_does_not_fit_is_refused_with_the_numbers_and_the_way_out() -> None:
    with pytest.raises(
        ConfigError, match=r"take about 1\d\d\.\d GiB.* has 59\.0 GiB; set train\.en"
    ):
        choose(IMPLICIT, HUGE, TRAIN, MACHINE)


def test_who_asks_for_spark_gets_it_and_reads_what_one_machine_would_take() -> None:
    chosen = choose(SPARK, SMALL, TRAIN, MACHINE)
    assert (chosen.engine, chosen.why[:17]) == (SPARK, "spark, asked for:")
    assert chosen.to_json()["machine_gib"] == 59.0


def test_the_choice_of_spark_says_that_it_skips_the_search() -> None:
    skipped = "; train.search is skipped, train.distributed is fitted as it is"
    assert choose(AUTO, HUGE, TRAIN, MACHINE).why.endswith(skipped)
    for size, settings in ((HUGE, config.Train(search=None)), (SMALL, TRAIN)):
        assert "train.search" not in choose(AUTO, size, settings, MACHINE).why


def test_a_gate_that_insists_on_what_spark_does_not_fit_is_refused_beforehand() -> None:
    with pytest.raises(ConfigError, match=r"gate\.baselines: engine spark .* found item_cosine"):
        require_measurable(SPARK, ("popularity", "item_cosine"))
    require_measurable(IMPLICIT, ("popularity", "item_cosine"))
    require_measurable(SPARK, ("popularity", "popularity_decayed"))


def test_the_estimate_grows_with_the_search_and_shrinks_with_cores() -> None:
    unsearched = config.Train(search=None)
    assert seconds(SMALL, TRAIN, 64, 16) > 10 * seconds(SMALL, unsearched, 64, 16)
    assert seconds(SMALL, TRAIN, 64, 16) == pytest.approx(seconds(SMALL, TRAIN, 64, 4) / 4)


def test_the_size_is_that_of_the_final_fit() -> None:
    windows = {"train": {"rows": 5}, "validation": {"rows": 2}, "test": {"rows": 3}}
    assert size_of({"windows": windows, "users": 4, "items": 6}) == Size(7, 4, 6)


def test_the_smallest_machine_that_the_fleet_may_get_counts() -> None:
    machine = of_shape("single_node", environment.load("aws").shape("single_node"))
    assert machine is not None
    assert machine.name == "m5.4xlarge of shape single_node"  # 64 GiB, r5.4xlarge has 128
    assert machine.memory == (64 - 3 - 2) * GIB
    assert machine.cores == 16


def test_a_machine_of_unknown_memory_stops_auto_only_and_names_the_way_out() -> None:
    shape = Shape(primary=Fleet(instance_types={"p4d.24xlarge": 1}, on_demand=1), minutes=10)
    machine = of_shape("gpu", shape)
    with pytest.raises(ConfigError, match=r"train\.engine auto: expected .*name the engine"):
        choose(AUTO, SMALL, TRAIN, machine)
    for asked in (IMPLICIT, SPARK):
        chosen = choose(asked, HUGE, TRAIN, machine)
        assert (chosen.engine, chosen.machine_gib) == (asked, None)


def test_this_machine_has_memory_and_cores() -> None:
    machine = this_machine()
    assert GIB < machine.memory < 2**50
    assert machine.cores >= 1

"""Prices: by the second, a minute at least, never zero for what is not known."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender import environment
from recommender.clusters import pricing
from recommender.clusters.pricing import Cost, PriceTable, Rate, Usage
from recommender.clusters.shapes import Fleet, Shape
from recommender.errors import ConfigError

TABLE = PriceTable(
    region="us-east-1",
    as_of=dt.date(2026, 1, 1),
    source="made up",
    ebs_gp3_gb_month=0.08,
    instances={
        "m5.xlarge": Rate(ec2=0.192, emr=0.048),
        "r5.xlarge": Rate(ec2=0.252, emr=0.063),
        "m5.2xlarge": Rate(ec2=0.384, emr=0.096),
        "m6g.xlarge": Rate(ec2=0.154, emr=None),
    },
)


def usd(*usages: Usage) -> float:
    found = pricing.cost(usages, TABLE).usd
    assert found is not None
    return found


def test_three_instances_for_25_minutes_cost_what_the_planning_figure_says() -> None:
    assert usd(Usage("m5.xlarge", 25 * 60, 0, 3)) == pytest.approx(0.30)


def test_a_disk_for_a_month_of_30_days_costs_its_monthly_price() -> None:
    month = 30 * 24 * 3600
    without, with_disk = Usage("m5.xlarge", month, 0), Usage("m5.xlarge", month, 100)
    assert usd(with_disk) - usd(without) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0, 60), (1, 60), (60, 60), (60.2, 61), (3600, 3600)]
)
def test_a_minute_is_billed_at_least_and_whole_seconds_after_it(
    seconds: float, billed: int
) -> None:
    assert Usage("m5.xlarge", seconds, 0).billed_seconds == billed


@pytest.mark.parametrize("instance_type", ["m6g.xlarge", "x9.large"])  # no fee; not in the table
def test_an_unknown_price_is_not_zero_and_names_its_instance(instance_type: str) -> None:
    found = pricing.cost([Usage("m5.xlarge", 60, 0), Usage(instance_type, 7200, 0)], TABLE)
    assert found.usd is None
    assert found.instance_hours == pytest.approx(2 + 1 / 60)
    assert found.text == f"unknown price for {instance_type}: run `make prices`"


@given(
    st.lists(st.tuples(st.sampled_from(["m5.xlarge", "r5.xlarge"]), st.floats(0, 1e6)), max_size=6)
)
def test_the_sum_is_the_sum_of_its_parts(parts: list[tuple[str, float]]) -> None:
    usages = [Usage(name, seconds, 64) for name, seconds in parts]
    whole = pricing.cost(usages, TABLE)
    summed = pricing.add(pricing.cost([usage], TABLE) for usage in usages)
    assert whole.usd == pytest.approx(summed.usd)
    assert whole.instance_hours == pytest.approx(summed.instance_hours)


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert pricing.add([Cost(1.0, 1), Cost(None, 1, ("x",))]) == Cost(None, 2, ("x",))


def shape(**core: object) -> Shape:
    primary = Fleet(instance_types={"m5.xlarge": 1}, on_demand=1, disk_gb=10)
    return Shape(primary=primary, core=Fleet.model_validate(core), minutes=60)


def test_a_fleet_is_expected_to_be_filled_with_its_dearest_type() -> None:
    types = {"m5.xlarge": 1, "r5.xlarge": 1, "m5.2xlarge": 2}
    found = pricing.expect(shape(instance_types=types, on_demand=3, disk_gb=10), 60, TABLE)
    disks = 0.08 * 10 / 720  # USD an hour for one
    assert found.usd == pytest.approx(
        0.240 + disks + max(3 * 0.315 + 3 * disks, 2 * 0.48 + 2 * disks)
    )


def test_one_unpriced_type_makes_the_fleet_unpriced_for_emr_may_choose_it() -> None:
    types = {"m5.xlarge": 1, "m6g.xlarge": 1}
    fleet = Fleet(instance_types=types, on_demand=1)
    found = pricing.expect(
        Shape.model_construct(primary=fleet, core=None, task=None, minutes=60.0), 60, TABLE
    )
    assert (found.usd, found.unknown) == (None, ("m6g.xlarge",))


@pytest.mark.parametrize("name", ["preprocessing", "single_node"])
@pytest.mark.parametrize("env", ["aws", "local"])
def test_the_shapes_that_runs_use_by_default_have_a_price(env: str, name: str) -> None:
    loaded = environment.load(env)
    found = pricing.expect(loaded.shape(name), 60, pricing.load(loaded.emr.region))
    assert found.usd is not None
    assert found.usd > 0


def test_the_newest_table_of_the_deployment_counts(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = pricing.load("us-east-1")
    monkeypatch.setenv(environment.CONFIG_DIRECTORY_VARIABLE, str(tmp_path))
    assert pricing.load("us-east-1") == shipped  # a deployment without prices has the shipped ones
    (tmp_path / "prices").mkdir()
    file = next((root / "include" / "config" / "prices").glob("us-east-1.*.yaml"))
    for date in ("2027-01-01", "2027-02-01"):
        target = tmp_path / "prices" / f"us-east-1.{date}.yaml"
        shutil.copy(file, target)
        target.write_text(target.read_text().replace(str(shipped.as_of), date))
    assert pricing.load("us-east-1").as_of == dt.date(2027, 2, 1)


def test_a_region_without_a_table_says_what_to_do() -> None:
    with pytest.raises(
        ConfigError, match=r"prices/mars-1\.<date>\.yaml, found none: run `make pri"
    ):
        pricing.load("mars-1")

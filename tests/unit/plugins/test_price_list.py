"""Refreshing the price table, against answers of the Price List API's shape."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from recommender import environment
from recommender.clusters import pricing
from recommender.errors import ConfigError
from recsys_emr import price_list

TODAY = dt.date(2027, 3, 1)


@pytest.fixture
def stub() -> Iterator[Stubber]:
    with Stubber(boto3.client("pricing", region_name="us-east-1")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def product(usd: str, **attributes: str) -> str:
    """A price list document as GetProducts answers it: JSON text within JSON."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}, "appliesTo": []}
    return json.dumps(
        {
            "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": "A"},
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {"A.J": {"priceDimensions": {"A.J.6": dimension}}},
                "Reserved": {"A.R": {"priceDimensions": {"A.R.1": {"pricePerUnit": {"USD": "9"}}}}},
            },
            "publicationDate": "2027-02-27T00:00:00Z",
        }
    )


def answer(stub: Stubber, service: str, wanted: dict[str, str], *documents: str) -> None:
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()]
    asked: dict[str, Any] = {"ServiceCode": service, "Filters": filters}
    stub.add_response("get_products", {"PriceList": list(documents)}, asked)


def disk(stub: Stubber, *documents: str) -> None:
    wanted = {"productFamily": "Storage", "volumeApiName": "gp3", "regionCode": "eu-west-1"}
    answer(stub, "AmazonEC2", wanted, *documents)


def instance(stub: Stubber, name: str, ec2: tuple[str, ...], emr: tuple[str, ...]) -> None:
    place = {"regionCode": "eu-west-1", "instanceType": name}
    linux = {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    fee = {"productFamily": "Elastic Map Reduce Instance", "softwareType": "EMR"}
    answer(stub, "AmazonEC2", {**linux, **place}, *(product(usd) for usd in ec2))
    answer(stub, "ElasticMapReduce", {**fee, **place}, *(product(usd) for usd in emr))


def test_the_table_has_ec2_emr_and_disk(stub: Stubber) -> None:
    disk(stub, product("0.0880000000"))
    instance(stub, "m6g.xlarge", ("0.1720000000", "0.0000000000"), ("0.0430000000",))
    instance(stub, "x9.odd", (), ())
    table = price_list.fetch(stub.client, "eu-west-1", ["x9.odd", "m6g.xlarge"], TODAY)
    assert table.ebs_gp3_gb_month == 0.088
    assert table.instances["m6g.xlarge"].model_dump() == {"ec2": 0.172, "emr": 0.043}
    assert table.instances["x9.odd"].model_dump() == {"ec2": None, "emr": None}
    assert table.as_of == TODAY


def test_two_prices_for_one_thing_are_not_chosen_from(stub: Stubber) -> None:
    disk(stub, product("0.088"), product("0.089"))
    with pytest.raises(ConfigError, match=r"expected one price of .*gp3.* found \[0.088, 0.089\]"):
        price_list.fetch(stub.client, "eu-west-1", [], TODAY)


def test_a_region_without_gp3_is_no_region(stub: Stubber) -> None:
    disk(stub)
    with pytest.raises(ConfigError, match="expected the price of gp3 in eu-west-1"):
        price_list.fetch(stub.client, "eu-west-1", [], TODAY)


def test_what_is_written_is_what_the_next_plan_reads(
    stub: Stubber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(stub, product("0.088"))
    instance(stub, "m6g.xlarge", ("0.172",), ())
    table = price_list.fetch(stub.client, "eu-west-1", ["m6g.xlarge"], TODAY)
    path = price_list.write(table, tmp_path / "prices")
    assert path.name == "eu-west-1.2027-03-01.yaml"
    monkeypatch.setenv(environment.CONFIG_DIRECTORY_VARIABLE, str(tmp_path))
    assert pricing.load("eu-west-1") == table


def test_every_type_of_every_shape_is_asked_for() -> None:
    types = price_list.instance_types(environment.load("aws"))
    assert {"m5.xlarge", "r5.4xlarge", "r7g.2xlarge"} <= types


def test_without_credentials_the_command_fails_in_words_and_keeps_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    before = sorted((root / "include" / "config" / "prices").iterdir())
    assert price_list.main(["--environment", "aws"]) == 1
    assert "needs credentials with pricing:GetProducts" in capsys.readouterr().err
    assert sorted((root / "include" / "config" / "prices").iterdir()) == before

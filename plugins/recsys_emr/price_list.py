"""Refresh the price table from the AWS Price List API: ``make prices [ENVIRONMENT=aws]``.

Asks for the instance types that the environments' shapes name and that the table already has. The
API answers in us-east-1 for every region and needs ``pricing:GetProducts`` of whoever runs this.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from recommender import environment
from recommender.clusters import pricing
from recommender.clusters.pricing import PriceTable, Rate
from recommender.errors import ConfigError, RecommenderError

if TYPE_CHECKING:
    from botocore.client import BaseClient

_EC2 = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}
_EMR = {"productFamily": "Elastic Map Reduce Instance", "softwareType": "EMR"}
_EBS = {"productFamily": "Storage", "volumeApiName": "gp3"}


def fetch(client: BaseClient, region: str, types: Iterable[str], today: dt.date) -> PriceTable:
    """Ask for every price and return the new table; a type that EMR does not offer gets null.

    Raises:
        ConfigError: an answer has no price, or more than one, for what has exactly one.
    """
    disk = _price(client, "AmazonEC2", {**_EBS, "regionCode": region})
    if disk is None:
        message = f"expected the price of gp3 in {region} from the Price List API, found none"
        raise ConfigError(message)
    instances = {}
    for name in sorted(types):
        place = {"regionCode": region, "instanceType": name}
        ec2 = _price(client, "AmazonEC2", {**_EC2, **place})
        instances[name] = Rate(ec2=ec2, emr=_price(client, "ElasticMapReduce", {**_EMR, **place}))
    source = "AWS Price List API, GetProducts"
    return PriceTable(
        region=region, as_of=today, source=source, ebs_gp3_gb_month=disk, instances=instances
    )


def _price(client: BaseClient, service: str, wanted: Mapping[str, str]) -> float | None:
    """Return the one on-demand price above zero of what is wanted; None if there is none."""
    pages = client.get_paginator("get_products").paginate(
        ServiceCode=service,
        Filters=[
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in wanted.items()
        ],
    )
    products = (json.loads(document) for page in pages for document in page["PriceList"])
    found = {price for product in products for price in _on_demand(product)}
    if len(found) > 1:
        message = f"expected one price of {dict(wanted)} in {service}, found {sorted(found)}"
        raise ConfigError(message)
    return next(iter(found), None)


def _on_demand(product: Mapping[str, Any]) -> Iterator[float]:
    """Yield the USD prices of a product's on-demand terms; reservations list zeros beside them."""
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if "USD" in dimension["pricePerUnit"] and float(dimension["pricePerUnit"]["USD"]):
                yield float(dimension["pricePerUnit"]["USD"])


def instance_types(env: environment.Environment) -> set[str]:
    """Return every instance type that the environment's shapes may use."""
    shapes = env.emr.shapes.values()
    return {
        name for shape in shapes for fleet in shape.fleets.values() for name in fleet.instance_types
    }


def write(table: PriceTable, directory: Path) -> Path:
    """Write the table beside the older ones; the newest date counts."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{table.region}.{table.as_of.isoformat()}.yaml"
    head = (
        "# List prices in USD, on demand, Linux; an hour unless said otherwise. By `make prices`.\n"
    )
    path.write_text(head + yaml.safe_dump(table.model_dump(), sort_keys=False))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Refresh the table of an environment's region; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", default="aws", help="whose region and instance types")
    asked = parser.parse_args(arguments)
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        env = environment.load(asked.environment)
        known = set(pricing.load(env.emr.region).instances)
        client: BaseClient = boto3.client("pricing", region_name="us-east-1")
        today = dt.datetime.now(dt.UTC).date()
        table = fetch(client, env.emr.region, instance_types(env) | known, today)
    except (RecommenderError, BotoCoreError, ClientError) as error:
        print(
            f"error: {error}\nthe Price List API needs credentials with pricing:GetProducts; "
            "the old table stays",
            file=sys.stderr,
        )
        return 1
    print(
        f"{len(table.instances)} types: {write(table, environment.config_directory() / 'prices')}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

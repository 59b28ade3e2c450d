"""Read title, category path, brand and price out of a record of any generation.

========  ===============  ==============================  =================  ====================
field     2014             2018                            2023               events
========  ===============  ==============================  =================  ====================
item      ``asin``         ``asin``                        ``parent_asin``    ``item_id``
category  ``categories``   ``category``, else ``main_cat``  ``categories``,    ``category``: list or
          (first path)                                     ``main_category``  text
brand     ``brand``        ``brand``                       ``store``          ``brand``
price     number           text ("$1,234.50", "$5 - $9")   number or text     number or text
========  ===============  ==============================  =================  ====================

Pages that were scraped badly leave markup, style sheets and page text where a value should be;
such a value is absent (None), which is what it says about the item.
"""

from __future__ import annotations

import html
import math
import re
from typing import Any, NamedTuple

from recommender.metadata.literals import BadLineError

MAX_TEXT = 500
"""Characters of a title, brand or path that are kept."""

_MAX_CATEGORY = 64  # names have up to 50 characters; page text runs on
_MAX_PRICE = 1e7
_TAG = re.compile(r"</?[A-Za-z!][^<>]*(?:>|$)")  # also one that the scraper has cut off
_CODE = re.compile(r"^(?:var |function\b|[.#][A-Za-z][\w-]*\s*\{)|\bfunction\s*\(|\{\s*[\w-]+\s*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff\s]+")
_PRICE = re.compile(r"(?:from\s*)?(?:[A-Z]{0,3}\s?[$€£¥])?\s*(\d[\d,]*(?:\.\d+)?)", re.IGNORECASE)


class Item(NamedTuple):
    """State what is known of one item; None where the record has nothing usable."""

    item_id: str
    title: str | None
    category: str | None
    brand: str | None
    price: float | None


def read_item(record: dict[str, Any]) -> Item:
    """Read an item out of a record.

    Raises:
        BadLineError: the record does not say which item it is about.
    """
    return Item(
        item_id=_item_id(record),
        title=_text(record.get("title")),
        category=_category(record),
        brand=_text(record.get("brand")) or _text(record.get("store")) or _brand_detail(record),
        price=_price(record.get("price")),
    )


def _item_id(record: dict[str, Any]) -> str:
    """Return the id as written: the interactions' ids are not changed either."""
    for key in ("parent_asin", "asin", "item_id"):
        value = record.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadLineError("item_id_unreadable")
        text = str(value)
        if not text.strip(" \t\r\n\xa0\ufeff"):
            raise BadLineError("item_id_blank")
        return _storable(text)
    raise BadLineError("item_id_missing")


def _category(record: dict[str, Any]) -> str | None:
    for key in ("categories", "category", "main_category", "main_cat"):
        if path := _path(record.get(key)):
            return " > ".join(path)[:MAX_TEXT]
    return None


def _path(value: object) -> list[str]:
    """Return a category path: the first of several; cut where page text begins."""
    if isinstance(value, list | tuple):
        nested = [entry for entry in value if isinstance(entry, list | tuple)]
        entries = list(nested[0]) if nested else list(value)
    else:
        entries = [value]
    path: list[str] = []
    for entry in entries:
        name = _text(entry)
        if name is None or len(name) > _MAX_CATEGORY or name.endswith("."):
            break
        if path[-1:] != [name]:
            path.append(name)
    return path


def _brand_detail(record: dict[str, Any]) -> str | None:
    details = record.get("details")
    return _text(details.get("Brand")) if isinstance(details, dict) else None


def _price(value: object) -> float | None:
    """Return a price of zero or more in the shop's own currency; of a range the lower end."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        found = _PRICE.match(value.strip())
        value = found.group(1).replace(",", "") if found else None
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and 0 <= number <= _MAX_PRICE else None


def _text(value: object) -> str | None:
    """Return readable text: without entities, markup and runs of space; None when nothing is left."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    # Some exports escaped twice; a third time has not been seen. Long text is cut first, because
    # a few hundred kilobytes of it need not be cleaned to be thrown away.
    text = html.unescape(html.unescape(str(value)[: 8 * MAX_TEXT]))
    if _CODE.search(text):
        return None
    text = _CONTROL.sub(" ", _TAG.sub(" ", text)).strip()
    return _storable(text[:MAX_TEXT].rstrip()) or None


def _storable(text: str) -> str:
    """Replace half surrogate pairs, which no UTF-8 file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")

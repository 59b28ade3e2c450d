"""Set faults in a running embedded AWS for the length of a block; for tests and drills."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from localaws.testing import opener


@contextmanager
def faults(
    endpoint_url: str, *rules: dict[str, Any]
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Set faults for a block; yields a function that shows the rules with how often each fired.

    Only these rules are removed at the end. See `fault_rules` for what a rule may say.
    """
    mine = add(endpoint_url, *rules)
    try:
        yield lambda: [rule for rule in show(endpoint_url) if rule["id"] in mine]
    finally:
        for number in mine:
            remove(endpoint_url, number)


def add(endpoint_url: str, *rules: dict[str, Any]) -> list[int]:
    """Set faults; their numbers. Not for two callers at a time: the last ones are taken for these."""
    known = _faults_page(endpoint_url, "POST", list(rules))
    return [rule["id"] for rule in known[len(known) - len(rules) :]]


def show(endpoint_url: str) -> list[dict[str, Any]]:
    """Return all faults that are set, each with how often it fired."""
    return _faults_page(endpoint_url, "GET")


def remove(endpoint_url: str, number: int) -> None:
    """Remove one fault; what it holds back goes on."""
    _faults_page(endpoint_url, "DELETE", query=f"?id={number}")


def _faults_page(
    endpoint_url: str, method: str, rules: list[dict[str, Any]] | None = None, query: str = ""
) -> list[dict[str, Any]]:
    body = None if rules is None else json.dumps(rules).encode()
    url = f"{endpoint_url}/_localaws/faults{query}"
    request = urllib.request.Request(url, body, method=method)  # noqa: S310  (loopback http)
    try:
        with opener().open(request, timeout=5) as response:
            found: list[dict[str, Any]] = json.load(response)
            return found
    except urllib.error.HTTPError as error:
        raise ValueError(error.read().decode("utf-8", "replace")) from None

"""Exit 0 if a service is well, else 1 with a reason: ``healthy.py URL [COMPONENT]``.

With a component of Airflow (``metadatabase``, ``scheduler``, ``dag_processor``, ``triggerer``) URL
is the api-server, which knows everyone's heartbeat. Without one it is the embedded AWS.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any


def main(arguments: list[str]) -> int:
    """Ask and answer by exit code; Docker keeps what is printed."""
    base, component = arguments[0], arguments[1] if len(arguments) > 1 else None
    path = "/api/v2/monitor/health" if component else "/_localaws/health"
    try:
        with urllib.request.urlopen(base.rstrip("/") + path, timeout=8) as answer:  # noqa: S310 - the URL is the compose file's
            problem = _problem(json.load(answer), component)
    except (OSError, ValueError) as error:
        problem = f"{base} does not answer: {error}"
    print(problem or "healthy")
    return 1 if problem else 0


def _problem(health: dict[str, Any], component: str | None) -> str | None:
    found, expected = health.get("status"), "ready"
    if component:
        found, expected = (health.get(component) or {}).get("status"), "healthy"
    return None if found == expected else f"expected {expected}, found {found}: {health}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

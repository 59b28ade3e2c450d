"""Run a job as a cluster does, with the test's own configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def run(config: str) -> Callable[..., int]:
    """Return a function that runs a job: its URIs by name, further arguments as they are."""

    def start(job: Any, *extra: str, **uris: str) -> int:
        arguments = [text for key, uri in uris.items() for text in (f"--{key}", uri)]
        return int(job.main(["--config", config, *arguments, *extra]))

    return start

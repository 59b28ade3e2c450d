"""Check what pip cannot bring, and say what to do about each thing that is missing."""

from __future__ import annotations

import importlib
import sys

from localaws.java import find_java_home


def main() -> int:
    """Print one line for each thing that is needed; return 1 if any is missing."""
    missing = [problem for problem in (_java(), _openmp()) if problem]
    for problem in missing:
        print(f"missing: {problem}", file=sys.stderr)
    return 1 if missing else 0


def _java() -> str | None:
    try:
        print(f"Java: {find_java_home()}")
    except RuntimeError as error:
        return str(error)
    return None


def _openmp() -> str | None:
    try:
        implicit = importlib.import_module("implicit")
    except ImportError as error:
        return (
            f"implicit does not load ({error}); it needs the system's OpenMP: "
            "apt-get install libgomp1, or dnf install libgomp"
        )
    print(f"implicit: {implicit.__version__}")
    return None


if __name__ == "__main__":
    sys.exit(main())

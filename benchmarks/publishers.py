"""Let 64 publishers and 8 readers at one champion for a minute; print what they did.

    python benchmarks/publishers.py [SECONDS]

Against the embedded AWS in a process of its own. Each publisher trains (plays it), measures against
the champion of the moment, decides and publishes; whoever loses the race measures again. Each read
verifies every file of the champion. In the end the history must be a chain with one record for each
promotion that was reported.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "include"), str(ROOT / "tests" / "support")]

from registry_store import NAME, make_run, places  # noqa: E402

from localaws import testing  # noqa: E402
from recommender import registry  # noqa: E402
from recommender.errors import ConflictError  # noqa: E402
from recommender.locations import Locations  # noqa: E402
from recommender.registry import pointer  # noqa: E402

PUBLISHERS, READERS = 64, 8


def publish(locations: Locations, number: int, until: float) -> Counter[str]:
    """Publish again and again; count what came of it."""
    done: Counter[str] = Counter()
    while time.monotonic() < until:
        case = make_run(locations, "2017-12-31", f"{number}-{done.total()}")
        decision = case.decide(locations)
        if decision.verdict == "refused":  # the champion moved between measuring and deciding
            done["measured again"] += 1
            continue
        try:
            case.publish(locations, decision)
            done["promoted"] += 1
        except ConflictError:
            done["lost the race"] += 1
    return done


def read(locations: Locations, until: float) -> Counter[str]:
    """Load the champion again and again, every file verified; an error ends the benchmark."""
    done: Counter[str] = Counter()
    while time.monotonic() < until:
        found = registry.load_champion(locations, NAME)
        done["verified reads" if found else "reads before the first"] += 1
    return done


def main(seconds: float) -> int:
    """Run all, check the history, print the counts."""
    with (
        tempfile.TemporaryDirectory(prefix="recsys-race-") as folder,
        testing.running(Path(folder), ["store"]) as server,
    ):
        os.environ.update(testing.environment(server.endpoint_url))
        locations, until = places("s3://store"), time.monotonic() + seconds
        with ThreadPoolExecutor(PUBLISHERS + READERS) as pool:
            tasks = [pool.submit(publish, locations, n, until) for n in range(PUBLISHERS)]
            tasks += [pool.submit(read, locations, until) for _ in range(READERS)]
            done = sum((task.result() for task in tasks), Counter[str]())
        records = pointer.history(locations, NAME)
    print(f"{PUBLISHERS} publishers and {READERS} readers for {seconds:g} s")
    for name, count in sorted(done.items()):
        print(f"  {name:<24} {count:>6}")
    print(f"  {'records, one chain':<24} {len(records):>6}")
    if len(records) != done["promoted"]:
        print(f"expected {done['promoted']} records, found {len(records)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60))

"""Measure raw JSON to dataset beside the ways people write it by hand, in one run.

    python benchmarks/generate.py --bytes 1e9 --files 40 --dirt 0.001 --output /tmp/data
    PYTHONPATH=include python benchmarks/preprocess.py /tmp/data pandas_loop polars plain_duckdb ours_duckdb

Each contender is a process of its own, one after the other, over files that were read once before
(so that none pays for a cold disk). Memory is the largest sum of the resident sets of the process
and its children, looked at five times a second. The first contender named is what ratios refer to.
With ``--figures`` each is kept as a line of JSON, and ``--plot`` draws all that the file holds, of other
sizes too: seconds and memory over the size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from preprocess_contenders import CONTENDERS

_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """Hold one contender's figures; ``failed`` says how it ended if it did not finish."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    failed: str = ""


def measure(name: str, raw: Path, limit_bytes: float) -> Measured:
    """Run one contender in a process group of its own; end it above a limit of memory."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=raw.parent) as out:
        began, cpu = time.monotonic(), _children_cpu()
        command = [sys.executable, str(Path(__file__).with_name("preprocess_contenders.py"))]
        process = subprocess.Popen([*command, name, str(raw), out], start_new_session=True)
        peak, lived, failed = 0, 0.0, ""
        while process.poll() is None:
            resident, lived = _session(process.pid)
            peak = max(peak, resident)
            if peak > limit_bytes and not failed:
                failed = f"ended above {limit_bytes / 2**30:.0f} GiB"
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.2)
        if process.returncode and not failed:
            failed = f"exit {process.returncode}"
        # A JVM that nobody waits for is missing from the children's times: it was seen alive.
        cpu = max(lived, _children_cpu() - cpu)
        return Measured(name, time.monotonic() - began, cpu, peak, failed)


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _session(session: int) -> tuple[int, float]:
    """Add up the resident sets and the processor seconds of a session's processes."""
    resident, ticks = 0, 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    resident += int((entry / "statm").read_text().split()[1]) * _PAGE
                    after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                    ticks += sum(map(int, after_name[11:15]))  # with those it has waited for
            except (OSError, ValueError):
                continue  # it ended meanwhile
    return resident, ticks / _TICKS


def table(rows: int, size: int, found: list[Measured]) -> str:
    """Lay the figures out as Markdown."""
    first = found[0]
    lines = [
        f"{rows:,} reviews, {size / 1e9:.1f} GB of JSON, {os.cpu_count()} cores",
        "",
        f"| contender | seconds | CPU s | reviews/s | peak GiB | x {first.name} |",
        "|---|---|---|---|---|---|",
    ]
    for m in found:
        if m.failed:
            lines.append(f"| {m.name} | {m.failed} | | | {m.peak_bytes / 2**30:.2f} | |")
            continue
        ratio = "" if first.failed else f"{first.seconds / m.seconds:.2f}"
        lines.append(
            f"| {m.name} | {m.seconds:.1f} | {m.cpu_seconds:.1f} | {rows / m.seconds:,.0f} "
            f"| {m.peak_bytes / 2**30:.2f} | {ratio} |"
        )
    return "\n".join(lines)


def keep(path: Path, size: int, found: list[Measured]) -> None:
    """Add what was measured at one size to a file of JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"bytes": size, **asdict(m)}) + "\n" for m in found)


def plot(figures: Path, path: Path) -> None:
    """Draw seconds and peak memory over the size of the text, a line each contender."""
    from matplotlib.figure import Figure

    kept = [json.loads(line) for line in figures.read_text(encoding="utf-8").splitlines()]
    done = sorted((m for m in kept if not m["failed"]), key=lambda m: m["bytes"])
    drawn = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = drawn.subplots(1, 2)
    looks = itertools.cycle(itertools.product(("-", "--", ":"), ("o", "s", "^", "D")))
    for name, (line, marker) in zip(dict.fromkeys(m["name"] for m in done), looks):  # noqa: B905 - endless
        own = [m for m in done if m["name"] == name]
        size = [m["bytes"] / 1e9 for m in own]
        left.plot(size, [m["seconds"] for m in own], line, marker=marker, label=name)
        right.plot(size, [m["peak_bytes"] / 2**30 for m in own], line, marker=marker, label=name)
    for axes, title in ((left, "seconds"), (right, "peak GiB")):
        axes.set(xlabel="GB of JSON", title=title, xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    drawn.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Parse the arguments, run the contenders, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("raw", type=Path, help="folder from generate.py, 2018 format, plain")
    parser.add_argument("contenders", nargs="+", choices=list(CONTENDERS))
    parser.add_argument("--limit-gib", type=float, default=12, help="end a contender above this")
    parser.add_argument("--figures", type=Path, help="JSON lines; what is measured is added")
    parser.add_argument("--plot", type=Path, help="SVG or PNG of all that --figures holds")
    arguments = parser.parse_args()
    files = sorted(arguments.raw.glob("*.json"))
    size = sum(f.stat().st_size for f in files)
    summary = json.loads((arguments.raw / "_summary.json").read_text())
    rows = round(summary["rows"] * size / summary["text_bytes"])
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass
    limit = arguments.limit_gib * 2**30
    found = [measure(name, arguments.raw, limit) for name in arguments.contenders]
    print(table(rows, size, found), flush=True)
    if arguments.figures:
        keep(arguments.figures, size, found)
    if arguments.figures and arguments.plot:
        plot(arguments.figures, arguments.plot)


if __name__ == "__main__":
    main()

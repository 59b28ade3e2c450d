"""Measure what reading, fitting and measuring take on one machine as interactions grow, and plot it.

    PYTHONPATH=include python benchmarks/scale.py --rows 1e6 3e6 1e7 3e7 1e8 --work FOLDER --plot scale.svg

For each size: generate a dataset (``interactions.py``), and in a process of its own read its training
and validation windows from Parquet into CSR, fit ALS and popularity as the pipeline's final fit does
(start from singular vectors and the loss of every iteration included), then make the report for a
seeded sample of the users (the pipeline measures everyone). Memory is the peak of the process beyond
Python, the libraries and one batch, as a small fit before has shown them; the promise is 1.5 times
matrix (16 bytes a pair) plus factors. Datasets stay in the folder and are used again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import interactions as generator
import numpy as np

from recommender import config, interactions
from recommender.dataset import TEST, TRAIN
from recommender.evaluation import leaderboard
from recommender.interactions import Interactions
from recommender.models import Als, DecayedPopularity, Popularity
from recommender.process import peak_memory_mb
from recommender.training import plans
from recommender.training.contenders import Contenders
from recommender.training.engine_choice import PEAK
from recommender.training.study import Study
from recommender.training.train import train

_MIB = 1 << 20
STAGES = ("read", "fit", "measure")


@dataclass(frozen=True)
class Taken:
    """Hold what one stage took.

    Attributes:
        seconds: wall clock.
        cpu: processor seconds, user and system.
        peak_mib: most resident memory since the stage began, beyond the process's own.
    """

    seconds: float
    cpu: float
    peak_mib: float


class Meter:
    """Time stages, one after the other, and see the peak of each."""

    def __init__(self) -> None:
        self.base = _resident_mib()
        self.start()

    def start(self) -> None:
        """Begin a stage and forget the peak so far."""
        Path("/proc/self/clear_refs").write_text("5")
        self._began, self._cpu = time.perf_counter(), _cpu()

    def stop(self) -> Taken:
        """Return what it took since ``start``."""
        seconds, cpu = time.perf_counter() - self._began, _cpu() - self._cpu
        return Taken(round(seconds, 2), round(cpu, 2), round(peak_memory_mb() - self.base, 1))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def measure(folder: Path, als: config.Als, users: int) -> dict[str, Any]:
    """Run the three stages over one dataset and return their figures."""
    profile = json.loads((folder / "profile.json").read_text())
    shape = profile["users"], profile["items"]
    settings = config.Recommender(
        name="scale", description="", dataset="scale", train={"als": als, "search": None}
    )
    _warm_up(als)
    meter, found = Meter(), {}
    read_once = Once(folder, shape, meter)
    plan = plans.plan(settings, plans.question(settings, 0), None, wide=False)
    trained = train(read_once, settings, _contenders(), plan, Study(None, ""))
    found["read"], found["fit"] = read_once.taken, meter.stop()
    rows = trained.fit_rows
    held_out = interactions.read_pairs([folder / TEST], shape)
    sampled = np.random.default_rng(settings.evaluate.seed).permutation(shape[0])[:users]
    chosen = np.zeros(shape[0], dtype=bool)
    chosen[sampled] = True
    held_out.data *= np.repeat(chosen, np.diff(held_out.indptr))
    held_out.eliminate_zeros()
    meter.start()
    report = leaderboard.evaluate(trained.models, rows.matrix(), held_out, settings.evaluate)
    found["measure"] = meter.stop()
    matrix = 16 * len(rows) + 8 * sum(shape)
    return {
        "rows": len(rows),
        "users": shape[0],
        "items": shape[1],
        **{stage: asdict(taken) for stage, taken in found.items()},
        "matrix_and_factors_mib": round((matrix + 4 * als.factors * sum(shape)) / _MIB, 1),
        "measured_users": report["population"]["users"],
        "recall": {name: round(m["recall"], 4) for name, m in report["models"].items()},
    }


class Once:
    """Read the windows for ``train`` with a meter, which goes on to the fit."""

    def __init__(self, folder: Path, shape: tuple[int, int], meter: Meter) -> None:
        self._folder, self._shape, self._meter = folder, shape, meter

    def __call__(self, *names: str) -> Interactions:
        """See ``training.train.Windows``."""
        self._meter.start()
        rows = interactions.read([self._folder / name for name in names], self._shape)
        self.taken = self._meter.stop()
        self._meter.start()
        return rows


def _contenders() -> Contenders:
    models = {
        "popularity": Popularity(),
        "popularity_recent": Popularity(recent_days=28),
        "popularity_decayed": DecayedPopularity(28),
    }
    return Contenders(dict(models), {})


def _warm_up(als: config.Als) -> None:
    """Load the libraries and let the allocators take what a small fit and report take."""
    model = generator.Model(rows=200_000, users=5_000, items=1_000)
    shape = model.users, model.items
    with tempfile.TemporaryDirectory() as name:
        generator.write(model, Path(name) / "small")
        rows = interactions.read([Path(name) / "small" / TRAIN], shape)
        held_out = interactions.read_pairs([Path(name) / "small" / TEST], shape)
    models = {"als": Als(als, keep_losses=True), **_contenders().models}
    for fitted in models.values():
        fitted.fit(rows)
    leaderboard.evaluate(models, rows.matrix(), held_out, config.Evaluate())


def table(results: list[dict[str, Any]], als: config.Als) -> str:
    """Lay the figures out as Markdown."""
    columns = (
        "rows fitted",
        "users",
        "items",
        "read s (CPU)",
        "fit s (CPU)",
        "M rows/s and iteration",
        "matrix + factors, MiB",
        "peak of read and fit, MiB",
        "of it",
        "users measured, a second",
        "peak of measuring, MiB",
        f"Recall@{config.Evaluate().k}, popularity's",
    )
    lines = [
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {als}",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for r in results:
        read, fit, measured = (r[stage] for stage in STAGES)
        peak = max(read["peak_mib"], fit["peak_mib"])
        speed = r["rows"] * als.iterations / fit["seconds"] / 1e6
        lines.append(
            f"| {r['rows']:,} | {r['users']:,} | {r['items']:,} "
            f"| {read['seconds']:.1f} ({read['cpu']:.1f}) | {fit['seconds']:.1f} ({fit['cpu']:.1f}) "
            f"| {speed:.2f} | {r['matrix_and_factors_mib']:,.0f} | {peak:,.0f} "
            f"| {peak / r['matrix_and_factors_mib']:.2f} "
            f"| {r['measured_users']:,}, {r['measured_users'] / measured['seconds']:,.0f} "
            f"| {measured['peak_mib']:,.0f} | {r['recall']['als']:.4f}, {r['recall']['popularity']:.4f} |"
        )
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds and peak memory over rows, both axes logarithmic."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = drawn.subplots(1, 2)
    rows = [r["rows"] for r in results]
    looks = {"read": ("o", "-"), "fit": ("s", "--"), "measure": ("^", ":")}
    for stage, (marker, line) in looks.items():
        left.plot(rows, [r[stage]["seconds"] for r in results], line, marker=marker, label=stage)
    left.set(xscale="log", yscale="log", xlabel="interactions fitted", title="seconds")
    promised = [r["matrix_and_factors_mib"] / 1024 for r in results]
    peaks = [max(r[s]["peak_mib"] for s in ("read", "fit")) / 1024 for r in results]
    right.plot(rows, peaks, "-", marker="o", label="peak of reading and fitting")
    measured = [r["measure"]["peak_mib"] / 1024 for r in results]
    right.plot(rows, measured, ":", marker="^", label="peak of measuring")
    right.plot(rows, [PEAK * size for size in promised], "--", label=f"promise: {PEAK} x the next")
    right.plot(rows, promised, "-.", label="matrix and factors")
    right.set(xscale="log", yscale="log", xlabel="interactions fitted", title="GiB")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    drawn.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Parse the arguments; measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 3e6, 1e7, 3e7, 1e8])
    parser.add_argument("--work", type=Path, required=True, help="datasets, and figures as JSON")
    parser.add_argument("--plot", type=Path, help="SVG or PNG")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--users", type=int, default=20_000, help="sampled for measuring")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    als = config.Als(
        factors=asked.factors, iterations=asked.iterations, alpha=10, regularization=100
    )
    if asked.one:
        logging.disable()
        print(json.dumps(measure(asked.work / f"{asked.rows[0]:.0e}", als, asked.users)))
        return
    results = []
    for rows in asked.rows:
        folder = asked.work / f"{rows:.0e}"
        if not (folder / "manifest.json").exists():
            generator.write(generator.of_size(int(rows)), folder)
        command = [sys.executable, *sys.argv, "--one", "--rows", str(rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    print(table(results, als))
    if asked.plot:
        plot(results, asked.plot)


if __name__ == "__main__":
    main()

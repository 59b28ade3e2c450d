"""Preprocess the real data sets that benchmarks measure on, once, into a folder that is kept.

The Complete Journey comes with its wheel. The Amazon files (``Musical_Instruments_5.json.gz`` of
2014; ``Gift_Cards_5.json.gz`` and ``Magazine_Subscriptions_5.json.gz`` of 2018, each with its
``meta_*.json.gz``) are looked for below the folder given, and left out if they are not there.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.snapshots import MONTHS, read_purchases, write_months, write_products
from localaws.java import find_java_home

ROOT = Path(__file__).resolve().parent.parent
_AMAZON = {
    "musical_instruments": ("Musical_Instruments_5.json.gz", None),
    "gift_cards": ("Gift_Cards_5.json.gz", "meta_Gift_Cards.json.gz"),
    "magazine_subscriptions": (
        "Magazine_Subscriptions_5.json.gz",
        "meta_Magazine_Subscriptions.json.gz",
    ),
}
_JOURNEY = ROOT / "include" / "config" / "recommenders" / "complete_journey.yaml"


@dataclass(frozen=True)
class RealDataset:
    """Name a preprocessed data set, its directory and its recommender's configuration."""

    name: str
    uri: str
    config: str


def prepare(work: Path, data: Path, months: int = 3) -> Iterator[RealDataset]:
    """Preprocess what is not there yet; yield every data set, the newest snapshot first."""
    for date in reversed(MONTHS[-months:]):
        yield _journey(work, date)
    for name, files in _AMAZON.items():
        found = [next(data.rglob(file), None) if file else None for file in files]
        if found[0] is None:
            print(f"{name} is left out: {files[0]} is not below {data}", file=sys.stderr)
            continue
        yield _amazon(work, name, [path for path in found if path])


def _journey(work: Path, date: dt.date) -> RealDataset:
    name = f"complete_journey {date}"
    snapshot = work / "snapshots" / "complete_journey" / date.isoformat()
    if not snapshot.is_dir():
        half = snapshot.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        (half / "items").mkdir(parents=True)
        purchases = read_purchases()
        write_months(half, purchases, date)
        write_products(half / "items" / "products.json.gz", purchases, date)
        half.rename(snapshot)
    return RealDataset(name, _preprocessed(work, name, snapshot, _JOURNEY, date), str(_JOURNEY))


def _amazon(work: Path, name: str, files: list[Path]) -> RealDataset:
    snapshot = work / "snapshots" / name
    snapshot.mkdir(parents=True, exist_ok=True)
    for path in files:
        target = (
            snapshot / "items" / path.name
            if path.name.startswith("meta_")
            else snapshot / path.name
        )
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            shutil.copyfile(path, target)
    config = ROOT / "benchmarks" / "recommenders" / f"{name}.yaml"
    return RealDataset(name, _preprocessed(work, name, snapshot, config, None), str(config))


def _preprocessed(work: Path, name: str, snapshot: Path, config: Path, date: dt.date | None) -> str:
    output = work / "datasets" / name.replace(" ", "-")
    if not (output / "manifest.json").exists():
        command = [sys.executable, "-m", "recommender.jobs", "preprocess", "--config", str(config)]
        command += ["--snapshot", str(snapshot), "--output", str(output)]
        command += ["--quarantine", str(work / "quarantine" / output.name)]
        command += ["--snapshot-date", date.isoformat()] if date else []
        environment = os.environ | {
            "PYTHONPATH": str(ROOT / "include"),
            "JAVA_HOME": str(find_java_home()),
        }
        subprocess.run(command, check=True, env=environment)
    return str(output)


if __name__ == "__main__":
    for dataset in prepare(Path(sys.argv[1]), Path(sys.argv[2])):
        print(dataset)

"""Hold the batch job against a plain `implicit` batch call: users a second, peak memory, equal rows.

    make setup-dev
    PYTHONPATH=include .venv/bin/python benchmarks/recommend.py --folder /tmp/bench-recommend

The job's time is all of it: fetching and verifying version and dataset, folding in, ranking, similar
items, writing Parquet, hashing. implicit's is its `recommend` call alone, arrays in memory. Both run
in processes of their own, in turn, on all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recommender import artifact, history, manifest, process, storage
from recommender.artifact import ALS, POPULARITY, Candidate
from recommender.config import Als as Settings
from recommender.dataset import TEST, TRAIN, VALIDATION, open_dataset
from recommender.interactions import SECONDS_PER_DAY, merge
from recommender.models import Als, Popularity

N = 20
CONFIG = "name: bench\ndescription: A benchmark.\ndataset: bench\nrecommend: {n: 20}\n"


def main() -> None:
    """Generate, run both in turn, compare rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--users", type=int, default=300_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--rows-per-user", type=int, default=30)
    parser.add_argument("--changed", type=float, default=0.3, help="share of users with new rows")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    dataset, version = str(asked.folder / "dataset"), str(asked.folder / "versions" / "v1")
    if asked.plain:
        print(json.dumps(plain(dataset, version)))
        return
    if not (asked.folder / "config.yaml").is_file():
        generate(asked, dataset, version)
    results = [(run_plain(asked.folder), run_job(asked.folder)) for _ in range(asked.rounds)]
    print(
        f"{asked.users:,} users x {asked.items:,} items, d={asked.factors}, top {N}, {os.cpu_count()} cores"
    )
    for theirs, ours in results:
        rate = asked.users / ours["wall"]
        print(
            f"implicit {theirs['rate']:,.0f} users/s, {theirs['memory_mb']:,.0f} MB | job, all of it: "
            f"{rate:,.0f} users/s, {ours['peak_memory_mb']:,.0f} MB | ratio {rate / theirs['rate']:.2f}"
            f" (ranking and writing alone: {ours['users_per_second'] / theirs['rate']:.2f})"
        )
    print(compare(dataset, version, asked.folder / "out", sample=2000))


def generate(asked: argparse.Namespace, dataset: str, version: str) -> None:
    """Write a dataset with popularity skew and a version fitted on it in one iteration."""
    shutil.rmtree(asked.folder, ignore_errors=True)
    rng = np.random.default_rng(42)
    for window, share, days in (
        (TRAIN, 0.85, (0, 300)),
        (VALIDATION, 0.1, (300, 330)),
        (TEST, 0.05, (330, 360)),
    ):
        users = np.arange(asked.users)
        if window == TEST:
            users = rng.choice(users, int(asked.changed * asked.users), replace=False)
        rows = int(share * asked.users * asked.rows_per_user)
        user = np.concatenate([users, rng.choice(users, max(0, rows - len(users)))])
        item = (asked.items * rng.random(len(user)) ** 2).astype(np.int64)
        keys = np.unique(user * asked.items + item)
        table = pa.table(
            {
                "user": (keys // asked.items).astype(np.int32),
                "item": (keys % asked.items).astype(np.int32),
                "confidence": np.ones(len(keys), np.float32),
                "timestamp": rng.integers(
                    days[0] * SECONDS_PER_DAY, days[1] * SECONDS_PER_DAY, len(keys)
                ),
            }
        )
        _write(Path(dataset, window), table)
    for kind, count in (("user", asked.users), ("item", asked.items)):
        ids = pa.array([f"{kind}-{place:08d}" for place in range(count)])
        _write(
            Path(dataset, f"{kind}s"),
            pa.table({kind: pa.array(range(count), pa.int32()), f"{kind}_id": ids}),
        )
    storage.write_json(f"{dataset}/profile.json", {"fit_until": 330 * SECONDS_PER_DAY})
    manifest.seal(dataset, "dataset", {"format": "events"})
    opened = open_dataset(dataset)
    fit = merge(opened.window(TRAIN), opened.window(VALIDATION))
    settings = Settings(factors=asked.factors, iterations=1)
    models = {ALS: Als(settings).fit(fit), POPULARITY: Popularity().fit(fit)}
    with tempfile.TemporaryDirectory() as name:
        artifact.write(Path(name), Candidate(models, opened.users, opened.items, {}))
        history.write(Path(name), history.of_interactions(fit))
        artifact.publish(Path(name), version, artifact.VERSION, {"recommender": "bench"})
    (asked.folder / "config.yaml").write_text(CONFIG)


def run_plain(folder: Path) -> dict[str, Any]:
    """Run implicit's call in a process of its own."""
    command = [sys.executable, __file__, "--plain", "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def plain(dataset: str, version: str) -> dict[str, Any]:
    """Time implicit's batch recommend, seen items filtered, one BLAS thread as it asks for."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    model = _als(version)
    seen = open_dataset(dataset).pairs(TRAIN, VALIDATION, TEST)
    with threadpool_limits(1, user_api="blas"):
        engine = AlternatingLeastSquares(factors=model.user_factors.shape[1])
        engine.user_factors, engine.item_factors = model.user_factors, model.item_factors
        users = np.arange(seen.shape[0])
        began = time.perf_counter()
        engine.recommend(users, seen, N=N)
        seconds = time.perf_counter() - began
    return {"rate": len(users) / seconds, "memory_mb": process.peak_memory_mb()}


def run_job(folder: Path) -> dict[str, Any]:
    """Run the job in a process of its own; its wall time includes starting Python."""
    command = [sys.executable, "-m", "recommender.jobs", "recommend"]
    command += [
        "--config",
        str(folder / "config.yaml"),
        "--version",
        str(folder / "versions" / "v1"),
    ]
    command += ["--dataset", str(folder / "dataset"), "--output", str(folder / "out")]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    wall = time.perf_counter() - began
    return {**storage.read_json(str(folder / "out" / "summary.json")), "wall": wall}


def compare(dataset: str, version: str, output: Path, sample: int) -> str:
    """Hold a seeded sample of users, row by row, to the evaluator's model or implicit's fold-in."""
    from implicit.cpu.als import AlternatingLeastSquares

    from recommender.models.als.weighted import weighted

    opened, model = open_dataset(dataset), _als(version)
    full = merge(merge(opened.window(TRAIN), opened.window(VALIDATION)), opened.window(TEST))
    seen, weights = full.matrix(), weighted(full, model.settings)
    engine = AlternatingLeastSquares(
        factors=model.settings.factors,
        alpha=model.settings.alpha,
        regularization=model.settings.regularization,
    )
    engine.user_factors, engine.item_factors = model.user_factors, model.item_factors
    chosen = np.sort(np.random.default_rng(7).choice(seen.shape[0], sample, replace=False))
    names = opened.users.take(pa.array(chosen)).to_pylist()
    stored = pq.read_table(output / "users", filters=[("user_id", "in", names)]).to_pylist()
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in stored:
        rows.setdefault(row["user_id"], []).append(row)
    items = opened.items.to_pylist()
    exact = close = wrong = 0
    for user, name in zip(chosen, names, strict=True):
        own = rows[name]
        if own[0]["source"] == "personal":
            ranked = model.recommend(np.array([user], np.int32), N, seen)
            best, values = ranked.items[0], ranked.scores[0]
        else:
            scores = (
                engine.recalculate_user(np.array([user]), weights[user]) @ model.item_factors.T
            )[0]
            scores[seen[user].indices] = -np.inf
            best = np.lexsort((-scores,))[:N]
            values = scores[best]
        same = [items[place] for place in best] == [row["item_id"] for row in own]
        near = np.allclose([row["score"] for row in own], values, rtol=1e-3, atol=1e-5)
        exact, close = exact + (same and near), close + (near and not same)
        wrong += not near
    return (
        f"{sample} users, {sample * N:,} rows: {exact} lists equal the evaluator's, {close} differ in "
        f"the order of scores equal within 1e-3, {wrong} are wrong"
    )


def _als(version: str) -> Als:
    model = artifact.load(version).models[ALS]
    if not isinstance(model, Als):
        message = f"{version}: expected ALS, found {type(model).__name__}"
        raise TypeError(message)
    return model


def _write(directory: Path, table: pa.Table) -> None:
    directory.mkdir(parents=True)
    pq.write_table(table, directory / "part-0.parquet")


if __name__ == "__main__":
    main()

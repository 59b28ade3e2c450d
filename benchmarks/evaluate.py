"""Compare the evaluation with implicit's own evaluator: users a second a core, and peak memory.

Random factors (64) over 20,000 items, lists of 20, one thread, one BLAS thread; each side in a process
of its own so that its peak memory is its own; seconds are the processor's. Ours makes the whole report (metrics, interval of 2,000
resamples, curves, cohorts, head and tail); implicit's makes precision, MAP, nDCG and AUC.

    PYTHONPATH=include python benchmarks/evaluate.py [USERS]
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

ITEMS, FACTORS, K, HAD, HELD_OUT = 20_000, 64, 20, 50, 10


def main() -> None:
    """Run each side in a process of its own and print the ratio."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    if len(sys.argv) > 2:
        print(json.dumps(SIDES[sys.argv[2]](users)))
        return
    found = {}
    for side in ("nothing", "ours", "implicit"):
        command = [sys.executable, __file__, str(users), side]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[side] = json.loads(output.splitlines()[-1])
    base = found["nothing"]["peak_mb"]
    print(f"{users:,} users, {ITEMS:,} items, {FACTORS} factors, lists of {K}, one thread")
    for side in ("ours", "implicit"):
        f = found[side]
        print(
            f"  {side:9} {f['seconds']:7.2f} s  {users / f['seconds']:9,.0f} users/s  "
            f"peak {f['peak_mb']:5.0f} MB ({base:.0f} with data alone)  nDCG@{K} {f['ndcg']:.6f}"
        )
    ratio = found["implicit"]["seconds"] / found["ours"]["seconds"]
    print(f"  ratio of the times, implicit / ours: {ratio:.2f}")


def drawn(users: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], csr_matrix, csr_matrix]:
    """Return user factors, item factors, fit rows and held-out rows, disjoint."""
    generator = np.random.default_rng(1)
    factors = [generator.standard_normal((n, FACTORS), np.float32) for n in (users, ITEMS)]
    fit = matrix(generator.integers(0, ITEMS, (users, HAD)))
    held_out = matrix(generator.integers(0, ITEMS, (users, HELD_OUT)))
    held_out = held_out - held_out.multiply(fit)
    held_out.eliminate_zeros()
    return factors[0], factors[1], fit, held_out


def matrix(items: np.ndarray[Any, Any]) -> csr_matrix:
    """Return CSR of ones from (users, n) item indices."""
    rows = np.repeat(np.arange(len(items)), items.shape[1])
    ones = np.ones(items.size, np.float32)
    found = csr_matrix((ones, (rows, items.ravel())), (len(items), ITEMS))
    found.sum_duplicates()
    found.data[:] = 1
    return found


def ours(users: int) -> dict[str, float]:
    """Make the report."""
    from recommender import config
    from recommender.evaluation import leaderboard
    from recommender.models import Als

    logging.disable()
    user_factors, item_factors, fit, held_out = drawn(users)
    model = Als(config.Als(factors=FACTORS), threads=1)
    model.user_factors, model.item_factors = user_factors, item_factors
    settings = config.Evaluate(k=K)
    began = time.process_time()
    report = leaderboard.evaluate({"als": model}, fit, held_out, settings)
    return told(began, report["models"]["als"]["ndcg"])


def implicits(users: int) -> dict[str, float]:
    """Let implicit evaluate."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    user_factors, item_factors, fit, held_out = drawn(users)
    model = AlternatingLeastSquares(factors=FACTORS, num_threads=1)
    model.user_factors, model.item_factors = user_factors, item_factors
    began = time.process_time()
    with threadpool_limits(1, user_api="blas"):
        found = ranking_metrics_at_k(model, fit, held_out, K=K, show_progress=False, num_threads=1)
    return told(began, found["ndcg"])


def nothing(users: int) -> dict[str, float]:
    """Load data, factors and libraries only: what both sides have in common."""
    from recommender.evaluation import leaderboard

    kept = drawn(users)
    return told(time.process_time(), float(len(kept) * len(leaderboard.__name__)))


def told(began: float, ndcg: float) -> dict[str, float]:
    """Return seconds and peak memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.process_time() - began, "peak_mb": peak, "ndcg": ndcg}


SIDES = {"ours": ours, "implicit": implicits, "nothing": nothing}

if __name__ == "__main__":
    main()

"""What the process is asked, and how its threads are held."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: libraries that other tests have loaded would be there already.
_CODE = """
from recommender.process import one_blas_thread

def threads():
    from threadpoolctl import ThreadpoolController
    found = ThreadpoolController().info()
    return [one["num_threads"] for one in found if one["user_api"] == "blas"]

with one_blas_thread():
    import implicit.cpu.als, numpy, scipy.sparse.linalg
    inside = threads()
after = threads()
with one_blas_thread():
    again = threads()
print(len(inside), set(inside), set(after), set(again))
"""


def test_one_blas_thread_holds_every_blas_that_implicit_numpy_and_scipy_load() -> None:
    code = f"import os; os.environ['OPENBLAS_NUM_THREADS'] = '2'\n{_CODE}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    libraries, inside, after, again = done.stdout.strip().split(" ", 3)
    assert int(libraries) >= 2  # numpy's and scipy's
    assert (inside, after, again) == ("{1}", "{2}", "{1}")

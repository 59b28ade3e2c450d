"""Ask the operating system about this process, and hold its threads."""

from __future__ import annotations

import resource
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit BLAS to one thread: its threads would compete with ours, and add up in another order.

    ``threadpool_limits`` looks through every library of the process each time: a millisecond or two, of a
    trial on small data the half.
    """
    limited: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limited


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401 - loads the BLAS that implicit uses, beside numpy's
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def peak_memory_mb() -> float:
    """Return the peak resident memory, files mapped into memory included.

    Linux tells it by address space; ``ru_maxrss`` would remember the JVM that started this.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS

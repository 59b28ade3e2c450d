"""Ask the operating system about this process."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory_mb() -> float:
    """Return the peak resident memory, files mapped into memory included.

    Linux tells it by address space; ``ru_maxrss`` would remember the JVM that started this.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS

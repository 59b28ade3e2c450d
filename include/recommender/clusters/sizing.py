"""Tell how much memory and how many cores a cluster shape's machine, or this one, has."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from recommender.clusters.shapes import Shape

GIB = 1 << 30
# https://aws.amazon.com/ec2/instance-types/: in these series memory goes with the vCPUs.
SERIES_GIB = {"c": 2, "m": 4, "r": 8, "t": 4}
_VCPUS = {"medium": 1, "large": 2, "xlarge": 4}
_SIZE = re.compile(r"(?P<series>[a-z]+)\d[a-z0-9-]*\.(?P<times>\d*)(?P<size>\w+)")
_SYSTEM_GIB = 3  # the operating system and EMR's own daemons on a primary
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Machine:
    """Say what one machine has for a training.

    Attributes:
        name: for a sentence.
        memory: bytes that a training may take.
        cores: vCPUs.
    """

    name: str
    memory: int
    cores: int


def of_shape(name: str, shape: Shape) -> Machine | None:
    """Return the smallest machine that the primary fleet of a shape may get.

    None where the memory of one of its instance types is not known: see ``SERIES_GIB``.
    """
    sizes = {kind: _size(kind) for kind in shape.primary.instance_types}
    known = [(*size, kind) for kind, size in sizes.items() if size is not None]
    if len(known) < len(sizes):
        return None
    memory, cores, kind = min(known)
    heap = _bytes(shape.driver_memory)
    free = int(memory * GIB) - _SYSTEM_GIB * GIB - heap
    return Machine(f"{kind} of shape {name}", max(0, free), cores)


def this_machine() -> Machine:
    """Return the machine that this process runs on; a container's limit counts."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    if limit.isdigit():
        memory = min(memory, int(limit))
    return Machine("machine at hand", int(0.9 * memory), os.cpu_count() or 1)


def _size(kind: str) -> tuple[float, int] | None:
    """Return (GiB, vCPUs) of an instance type; None of an unknown one."""
    found = _SIZE.fullmatch(kind)
    series, size = (found["series"], found["size"]) if found else ("", "")
    if not found or series not in SERIES_GIB or size not in _VCPUS:
        return None
    vcpus = _VCPUS[size] * int(found["times"] or 1)
    return float(SERIES_GIB[series] * vcpus), vcpus


def _bytes(heap: str) -> int:
    """Return the bytes of Spark's notation, such as 512m or 2g."""
    return int(heap[:-1]) * (GIB if heap.endswith("g") else 1 << 20)

"""Tell how much memory and how many cores a cluster shape's machine, or this one, has."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from recommender.clusters.shapes import Shape
from recommender.errors import ConfigError

GIB = 1 << 30
# https://aws.amazon.com/ec2/instance-types/: in these series memory goes with the vCPUs.
_GIB_A_VCPU = {"c": 2, "m": 4, "r": 8, "t": 4}
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


def of_shape(name: str, shape: Shape) -> Machine:
    """Return the smallest machine that the primary fleet of a shape may get.

    Raises:
        ConfigError: the memory of an instance type is not known here.
    """
    sizes = [(*_size(kind), kind) for kind in shape.primary.instance_types]
    memory, cores, kind = min(sizes)
    heap = _bytes(shape.driver_memory)
    free = int(memory * GIB) - _SYSTEM_GIB * GIB - heap
    return Machine(f"{kind} of shape {name}", max(0, free), cores)


def this_machine() -> Machine:
    """Return the machine that this process runs on; a container's limit counts."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    if limit.isdigit():
        memory = min(memory, int(limit))
    return Machine("this machine", int(0.9 * memory), os.cpu_count() or 1)


def _size(kind: str) -> tuple[float, int]:
    """Return (GiB, vCPUs) of an instance type."""
    found = _SIZE.fullmatch(kind)
    series, size = (found["series"], found["size"]) if found else ("", "")
    if not found or series not in _GIB_A_VCPU or size not in _VCPUS:
        message = (
            f"expected an instance type of the series {', '.join(_GIB_A_VCPU)}, whose memory is "
            f"known, found {kind}: name train.engine instead of auto, or take another type"
        )
        raise ConfigError(message)
    vcpus = _VCPUS[size] * int(found["times"] or 1)
    return float(_GIB_A_VCPU[series] * vcpus), vcpus


def _bytes(heap: str) -> int:
    """Return the bytes of Spark's notation, such as 512m or 2g."""
    return int(heap[:-1]) * (GIB if heap.endswith("g") else 1 << 20)

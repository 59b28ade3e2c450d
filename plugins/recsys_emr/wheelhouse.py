"""Gather the wheels that nodes install, for their processor: ``make wheelhouse ARCH=arm64``.

Nodes have no internet: the bootstrap installs from ``<wheelhouse>/<uname -m>/`` in S3. The wheels
are those of ``include/bootstrap/requirements.txt``, each checked against its hash there, and for
Python 3.11 on Amazon Linux 2023 whatever machine this runs on. With ``--upload`` they go to the
environment's wheelhouse.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from recommender import environment, storage
from recommender.clusters import staging
from recommender.clusters.shapes import Architecture
from recommender.errors import ConfigError, RecommenderError
from recommender.locations import join

PYTHON_VERSION = "3.11"
MACHINES: dict[Architecture, str] = {"arm64": "aarch64", "x86_64": "x86_64"}  # as uname -m says
# pip takes these tags literally, so each policy that a wheel may name is listed. Amazon Linux 2023
# has glibc 2.34: https://docs.aws.amazon.com/linux/al2023/ug/glibc-gcc-and-binutils.html
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


class WheelhouseError(RecommenderError):
    """The wheels could not be gathered."""


def command(architecture: Architecture, requirements: Path, target: Path) -> list[str]:
    """Return the pip command that downloads the wheels for a processor, hashes required."""
    platforms = [f"{platform}_{MACHINES[architecture]}" for platform in _PLATFORMS]
    return [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"),
        *("--requirement", str(requirements), "--require-hashes", "--no-deps"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON_VERSION),
        *(part for platform in platforms for part in ("--platform", platform)),
        *("--dest", str(target)),
    ]


def gather(architecture: Architecture, requirements: Path, out: Path) -> list[Path]:
    """Download the wheels into ``<out>/<machine>`` and return them, by name.

    A wheel of an earlier list is removed: the bootstrap should find nothing but the list.

    Raises:
        WheelhouseError: pip failed; the message ends with what it said.
    """
    target = out / MACHINES[architecture]
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.whl"):
        old.unlink()
    done = subprocess.run(
        command(architecture, requirements, target), capture_output=True, text=True, check=False
    )
    wheels = sorted(target.glob("*.whl"))
    if done.returncode or not wheels:
        said = done.stderr.strip() or "nothing, and left no wheel"
        message = (
            f"expected a wheel for {architecture} of everything in {requirements}, pip said:\n"
            f"{said}\na package without such a wheel, or a hash that differs: see `make lock`"
        )
        raise WheelhouseError(message)
    return wheels


def upload(wheels: Sequence[Path], root: str, architecture: Architecture) -> str:
    """Copy the wheels to ``<root>/<machine>/`` and return where that is."""
    target = join(root, MACHINES[architecture]) + "/"
    for wheel in wheels:
        storage.upload(wheel, join(target, wheel.name))
    return target


def main(arguments: list[str] | None = None) -> int:
    """Gather, and upload if asked to; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture", choices=get_args(Architecture))
    parser.add_argument("out", type=Path, help="folder; the wheels go below <out>/<uname -m>/")
    parser.add_argument("--upload", metavar="ENVIRONMENT", help="upload to its emr.wheelhouse")
    asked = parser.parse_args(arguments)
    try:
        root = _root(asked.upload) if asked.upload else None  # before minutes of downloading
        wheels = gather(asked.architecture, _requirements(), asked.out)
        size = sum(wheel.stat().st_size for wheel in wheels)
        print(f"{len(wheels)} wheels, {size / 1e6:.1f} MB, hashes verified: {wheels[0].parent}")
        if root:
            print(f"uploaded to {upload(wheels, root, asked.architecture)}")
    except RecommenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _root(name: str) -> str:
    root = environment.load(name).emr.wheelhouse
    if root is None:
        message = f"environment {name}: expected emr.wheelhouse, where to upload to, found none"
        raise ConfigError(message)
    return root


def _requirements() -> Path:
    return staging.NODE / "requirements.txt"


if __name__ == "__main__":
    sys.exit(main())

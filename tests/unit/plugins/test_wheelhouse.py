"""The wheels of the nodes: the right processor, the right hashes, nothing else."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from recommender.clusters.shapes import Architecture
from recsys_emr import wheelhouse
from recsys_emr.job_flow import SCRATCH
from recsys_emr.wheelhouse import WheelhouseError


def values(command: list[str], option: str) -> list[str]:
    return [command[n + 1] for n, part in enumerate(command) if part == option]


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_the_command_asks_for_the_nodes_python_and_processor(
    architecture: Architecture, machine: str, tmp_path: Path
) -> None:
    command = wheelhouse.command(architecture, tmp_path / "r.txt", tmp_path / "out")
    platforms = values(command, "--platform")
    assert f"manylinux_2_28_{machine}" in platforms  # numpy, scipy, pyarrow
    assert f"manylinux2014_{machine}" in platforms
    assert all(platform.endswith(machine) for platform in platforms)
    assert values(command, "--python-version") == ["3.11"]
    assert values(command, "--only-binary") == [":all:"]
    assert {"--require-hashes", "--no-deps"} <= set(command)


def make_wheel(folder: Path, name: str) -> Path:
    """A wheel with nothing in it, as the format wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    files = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()},\n"
        for file, text in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{about}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


def listed(tmp_path: Path, digest: str | None = None) -> Path:
    wheel = make_wheel(tmp_path / "index", "nothing")
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"nothing==1.0 --hash=sha256:{digest}\n")
    return requirements


@pytest.fixture(autouse=True)
def only_the_index_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_wheels_land_below_the_machines_name_and_old_ones_go(tmp_path: Path) -> None:
    requirements = listed(tmp_path)
    stale = make_wheel(tmp_path / "out" / "aarch64", "stale")
    wheels = wheelhouse.gather("arm64", requirements, tmp_path / "out")
    assert wheels == [tmp_path / "out" / "aarch64" / "nothing-1.0-py3-none-any.whl"]
    assert not stale.exists()


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WheelhouseError, match="DO NOT MATCH THE HASHES"):
        wheelhouse.gather("arm64", listed(tmp_path, "0" * 64), tmp_path / "out")


def test_the_upload_goes_where_the_bootstrap_looks(tmp_path: Path, root: Path) -> None:
    wheel = make_wheel(tmp_path, "nothing")
    target = wheelhouse.upload([wheel], str(tmp_path / "house"), "arm64")
    assert target == f"{tmp_path}/house/aarch64/"
    assert (tmp_path / "house" / "aarch64" / wheel.name).read_bytes() == wheel.read_bytes()
    script = (root / "include" / "bootstrap" / "install.sh").read_text()
    assert '"${wheelhouse%/}/$(uname -m)/"' in script


def test_the_bootstrap_makes_the_scratch_directory_that_the_jobs_are_told_of(root: Path) -> None:
    script = (root / "include" / "bootstrap" / "install.sh").read_text()
    assert f"sudo install -d -m 1777 {SCRATCH}\n" in script


def test_an_environment_without_a_wheelhouse_is_told_before_the_download(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wheelhouse.main(["arm64", str(tmp_path / "out"), "--upload", "local"]) == 1
    assert "expected emr.wheelhouse" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

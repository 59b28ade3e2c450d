"""Run a translated step in its own process group, and end that group for certain."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from localaws import guard
from localaws.spark_settings import properties_text
from localaws.steps import PROPERTIES_FILE, Command

# EMR gives a cancelled step this long too, by default, before SIGKILL.
KILL_GRACE_SECONDS = float(os.environ.get("LOCALAWS_KILL_GRACE_SECONDS", "5"))


class StepProcess:
    """One step's processes and the three log files EMR keeps of it.

    Attributes:
        logs: directory with controller, stdout and stderr.
    """

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self._work = directory / "work"
        self.logs.mkdir(parents=True)
        self._work.mkdir()
        self._lock = threading.Lock()
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def note(self, line: str) -> None:
        """Add a line to the controller log."""
        with (self.logs / "controller").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} INFO {line}\n")

    def prepare(self, command: Command, download: Callable[[str, Path], None]) -> None:
        """Fetch and unpack what the step needs into its working directory.

        Args:
            command: the step.
            download: writes an ``s3://`` URI's bytes to a file; raises OSError when it cannot.
        """
        for name, uri in command.downloads.items():
            download(uri, self._work / name)
            self.note(f"fetched {uri}")
        for name, directory in command.archives.items():
            target = self._work / directory
            if not target.exists():  # without an alias it would take the archive's own place
                _unpack(self._work / name, target)
        if command.properties:
            text = properties_text(command.properties)
            (self._work / PROPERTIES_FILE).write_text(text, encoding="ascii")
        for line in command.notes:
            self.note(line)

    def start(self, command: Command) -> None:
        """Start the command; does nothing when the step was killed before.

        Raises:
            OSError: the program cannot be started.
        """
        environment = {**command.environment, **self._spark_places()}
        with (
            self._lock,
            (self.logs / "stdout").open("wb") as out,
            (self.logs / "stderr").open("wb") as err,
        ):
            if self._killed:
                return
            self.note(f"startExec {shlex.join(command.argv)!r}")
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self._work,
                env=environment,
                start_new_session=True,
            )
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _spark_places(self) -> dict[str, str]:
        """Keep Spark's temporary files in the step's directory: a killed JVM leaves them behind.

        TMPDIR stays: Python's multiprocessing makes sockets there, whose paths may have 107 bytes only.
        """
        scratch = self._work / ".spark"
        scratch.mkdir()
        return {
            "PWD": str(self._work),
            "SPARK_LOCAL_DIRS": str(scratch),
            "SPARK_SUBMIT_OPTS": f'"-Djava.io.tmpdir={scratch}"',
        }

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the command; its exit code (negative: the signal), None while it runs."""
        if self._process is None:
            return -signal.SIGTERM
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End the whole process group: SIGTERM, and SIGKILL after the grace. Returns when it is gone."""
        with self._lock:
            self._killed = True
        if self._process is None:
            return
        group = self._process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            if self._gone(group, KILL_GRACE_SECONDS):
                return
        self.note(f"process group {group} survived SIGKILL for {KILL_GRACE_SECONDS} s")

    def finish(self) -> None:
        """End what the command left running, stand the guard down, delete the working directory."""
        self.kill()
        if self._guard is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.communicate(b"done", timeout=KILL_GRACE_SECONDS)
        shutil.rmtree(self._work, ignore_errors=True)

    def _gone(self, group: int, seconds: float) -> bool:
        """Wait until no process of the group is left."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process is not None:
                self._process.poll()  # reap it, or it counts as a member for ever
            if not group_members(group):
                return True
            time.sleep(0.02)
        return False


def group_members(group: int) -> bool:
    """Tell whether a process group has a living member.

    An orphan whose new parent does not reap it (a container without init) stays a member as a zombie;
    on Linux the state in /proc tells it apart.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS answers so for a group of zombies
        return False
    proc = Path("/proc")
    if not (proc / "self/stat").exists():
        return True
    for stat in proc.glob("[0-9]*/stat"):
        try:
            # pid (name) state parent group ...: the name may hold blanks and parentheses
            state, _, found = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(found) == group and state not in {"Z", "X"}:
            return True
    return False


def _unpack(archive: Path, directory: Path) -> None:
    """Unpack an archive as YARN's localiser does; its members cannot leave the directory.

    Raises:
        OSError: it is damaged or of no known kind.
    """
    try:
        if archive.name.endswith((".zip", ".jar")):
            shutil.unpack_archive(archive, directory, "zip")
        else:
            shutil.unpack_archive(archive, directory, filter="tar")
    except (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, shutil.ReadError) as error:
        raise OSError(
            f"expected a whole .zip, .tar or .tar.gz in {archive.name}, found: {error}; build it again"
        ) from error

"""A Postgres of the tests' own for Airflow, as in production.

On SQLite, Airflow's API server blocks itself: one request commits on the event loop while another one
that waits for the loop holds the only write lock, until the busy time-out ends.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USER = "postgres"  # Debian's; as root nothing of Postgres starts
_SECONDS = 120
# Nobody needs these tables after a crash of the machine.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


@contextmanager
def running() -> Iterator[str | None]:
    """Start a server that listens on a socket of its own; yield its URL, None where there is no Postgres."""
    binaries, prefix = _binaries(), _prefix()
    if binaries is None or prefix is None:
        yield None
        return
    # Not below pytest's own folder, which no other user may enter.
    folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-"))
    if prefix:
        shutil.chown(folder, _USER)
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(binaries / program), *arguments]
        log = folder / "commands.log"
        with log.open("ab") as out:
            done = subprocess.run(
                command, cwd=folder, stdout=out, stderr=out, timeout=_SECONDS, check=False
            )
        assert done.returncode == 0, f"{command}: {log.read_text()[-3000:]}"

    options = {**_SETTINGS, "unix_socket_directories": str(folder)}
    flags = " ".join(f"-c {name}='{value}'" for name, value in options.items())
    server = ("--pgdata", str(data), "--wait", "--timeout", str(_SECONDS))
    try:
        run("initdb", "--pgdata", str(data), "--username", _USER, "--auth", "trust", "--no-sync")
        run("pg_ctl", "start", *server, "--options", flags, "--log", str(folder / "server.log"))
        try:
            yield f"postgresql+psycopg2://{_USER}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", *server, "--mode", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """Return the folder of the newest server programs; Debian keeps them off the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    known = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in known), key=lambda p: int(p.parent.name), default=None)


def _prefix() -> list[str] | None:
    """Return what runs a program as a user that Postgres accepts; None if there is none."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return None
    return ["runuser", "--user", _USER, "--"] if shutil.which("runuser") else None

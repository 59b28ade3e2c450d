"""Upload a job's former output to where the job would write it, its manifest last."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "include"))

from recommender import storage
from recommender.locations import join

made, output = Path(sys.argv[1]), sys.argv[2]
files = [path for path in made.rglob("*") if path.is_file() and not path.name.startswith(".")]
for path in sorted(files, key=lambda path: (path.name == "manifest.json", path)):
    storage.upload(path, join(output, path.relative_to(made).as_posix()))
print(f"{output} is what {made.name} once made")

"""A model store on disk, and one recommender named shop."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty model store on disk, and one recommender."""
    (tmp_path / "environments").mkdir()
    (tmp_path / "recommenders").mkdir()
    shapes = "emr: {region: us-east-1, shapes: {}}"
    roots = "\n".join(f"{name}: {tmp_path}/{name}" for name in ("lake", "work", "models"))
    (tmp_path / "environments/disk.yaml").write_text(f"name: disk\n{roots}\n{shapes}\n")
    s3 = "\n".join(f"{name}: s3://{name}" for name in ("lake", "work", "models"))
    (tmp_path / "environments/played.yaml").write_text(
        f"name: played\nsimulated: true\n{s3}\n{shapes}\n"
    )
    (tmp_path / "recommenders/shop.yaml").write_text("name: shop\ndescription: d\ndataset: shop\n")
    monkeypatch.setenv("RECSYS_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("RECSYS_ENVIRONMENT", "disk")
    monkeypatch.delenv("RECSYS_RECOMMENDER", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)

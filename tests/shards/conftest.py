from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.shards import blocks, member_table, remote, tar_files


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, small blocks, and no waiting."""
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(member_table, "BLOCK", 4096)
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(tar_files, "_tables", {})
    blocks._in_memory.clear()
    return tmp_path / "cache"


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[[int], Path]:
    """Makes class folders with train and val: images of noise of one color, of about 900 bytes."""

    def make(count: int) -> Path:
        for number in range(count):
            for split in ("train", "val"):
                folder = tmp_path / "plain" / split / ("cat" if number % 2 else "dog")
                folder.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / f"{split}{number:03}.png")
        return tmp_path / "plain"

    return make

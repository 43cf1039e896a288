"""What all tests share: real data where it is there, one thread, and quiet libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def assets() -> Path:
    """A folder with real data sets and weights; tests that need it are skipped without it."""
    folder = Path(os.environ.get("VERTEBRA_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))
    if not folder.is_dir():
        pytest.skip("no real data here; set VERTEBRA_ASSETS to the folder that has it")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random draws."""
    torch.manual_seed(0)

"""Training on a GPU, in every precision that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import vertebra


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and VERTEBRA_TEST_GPU=1")
@pytest.mark.parametrize("precision", ["auto", "32", "bf16-mixed", "16-mixed"])
def test_a_run_on_a_gpu(precision: str, three_branches: dict[str, Any], tmp_path: Path) -> None:
    train = {**three_branches["train"], "precision": precision, "accelerator": "gpu", "devices": 1}
    run = vertebra.train({**three_branches, "train": train}, out=tmp_path / "run")
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert state["global_step"] == 12
    assert all(bool(value.isfinite().all()) for value in state["state_dict"].values())
    row = run.history[-1]
    assert row["memory/gpu_gb"] > 0 and row["seconds/forward"] > 0 and row["seconds/backward"] > 0
    phases = sum(value for name, value in row.items() if name.startswith("seconds/"))
    assert phases <= row["seconds"] - run.history[-2]["seconds"] + 0.5, "each second counts once"

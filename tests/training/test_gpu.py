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
    assert state["global_step"] == 2 * run.history[0]["step"]
    assert all(bool(value.isfinite().all()) for value in state["state_dict"].values())
    row = run.history[-1]
    assert row["memory/gpu_gb"] > 0 and row["seconds/forward"] > 0 and row["seconds/backward"] > 0
    phases = sum(value for name, value in row.items() if name.startswith("seconds/"))
    assert phases <= row["seconds"] - run.history[-2]["seconds"] + 0.5, "each second counts once"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and VERTEBRA_TEST_GPU=1")
def test_the_memory_of_a_step_is_foreseen(scenes: Path) -> None:
    from vertebra.data.batches import collate
    from vertebra.data.open import open_data
    from vertebra.data.samples import SampleKey
    from vertebra.data.sources import Source
    from vertebra.model_info import model_info
    from vertebra.training.loaders import mixed
    from vertebra.training.micro_batch import _allocated, step_memory

    index, device = open_data(scenes / "boxes", "detect", "train"), torch.device("cuda", 0)
    classes = list(index.labels["detect"].classes)
    model = vertebra.create_model("resnet18", neck="fpn", decoder="fcos", classes=classes, image_size=[256, 320])
    data = mixed(model_info(model), [Source(index, {"detect": "detect"})], 0, None)
    memory = step_memory(model, data, "32-true", device)
    assert memory is not None
    batch = collate([data[SampleKey(0, row)] for row in range(8)], data.labels).to(device)
    peak = _allocated(model.to(device, memory_format=torch.channels_last).train(), batch)  # type: ignore[call-overload]
    assert memory.of(8) == pytest.approx(peak, rel=0.15)

"""Weights and model files run no code: pickles are read as tensors alone, and names in a model file are those of parts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import vertebra
from vertebra.checkpoints import read_state_dict
from vertebra.errors import VertebraError, WeightsError
from vertebra.weights.header import FORMAT_VERSION


class _Runs:
    """A pickle that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("name", ["last.ckpt", "weights.pth"])
def test_a_pickle_of_weights(name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "extra": _Runs(tmp_path / "ran")}, tmp_path / name)
    with pytest.raises(WeightsError, match=rf"^[^\n]*{name}[^\n]*$"):
        read_state_dict(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / name, weights_only=False)
    assert (tmp_path / "ran").exists(), "the file is what it should be"


@pytest.mark.parametrize("part", ["os.system", "builtins.exec", "../run", "vertebra.decoders.classify.linear.Linear"])
def test_a_model_file_names_parts_and_no_code(part: str, tmp_path: Path) -> None:
    for where in ("backbone", "decoder"):
        branch = {"decoder": {"name": part if where == "decoder" else "linear"}, "classes": ["a", "b"]}
        model = {"backbone": {"name": part if where == "backbone" else "test_resnet"}, "branches": {"classify": branch}}
        header = {
            "format_version": FORMAT_VERSION,
            "model": model,
            "preprocess": {"size": [32, 32], "mode": "resize", "fill": [0, 0, 0]},
        }
        save_file({"weight": torch.zeros(1)}, tmp_path / "m.safetensors", metadata={"vertebra": json.dumps(header)})
        with pytest.raises(VertebraError, match=part.replace(".", r"\.")):
            vertebra.load(tmp_path / "m.safetensors")

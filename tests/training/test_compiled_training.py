"""Training with torch.compile: which parts, what it needs, and the same losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vertebra
from vertebra.config import TrainConfig
from vertebra.errors import ConfigError
from vertebra.training.compiled import compiled_parts
from vertebra.training.hardware import check_hardware


def test_a_missing_compiler_is_named_before_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = TrainConfig(accelerator="cpu", compile=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"train.compile needs a C\+\+ compiler, .* or set train.compile=false"):
        check_hardware(recipe)
    compiler = tmp_path / "my-compiler"
    compiler.touch(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert check_hardware(recipe).device == "cpu"


def test_compiled_parts_give_the_same_losses_and_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backend that runs the traced graphs as they are; the names of weights do not change."""
    traced: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        traced.append(graph)
        return graph.forward

    original = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: original(module, backend=backend))
    model = vertebra.create_model("resnet10t", decoder="linear", classes=["a", "b"], image_size=32)
    names = list(model.state_dict())
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)

    def output() -> torch.Tensor:
        return model.eval().run(images)[0]["classify"].logits

    expected = output()
    with compiled_parts(model, enabled=True):
        assert list(model.state_dict()) == names
        torch.testing.assert_close(output(), expected)
        assert len(traced) > 1, "the backbone and the decoder's modules"
    count = len(traced)
    output()
    assert len(traced) == count and all(module._compiled_call_impl is None for module in model.modules())

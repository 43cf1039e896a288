"""A training that fails leaves the model in its mode of before, and says which weights it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vertebra
from vertebra import DataError, Model, RunError
from vertebra.demo.animals import ANIMALS
from vertebra.training.step import TrainingModule

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 6, "workers": 0, "precision": "32"}
TOLD = "training did not end: the model has the weights of its last training step\n"


@pytest.fixture
def model() -> Model:
    model = vertebra.create_model(
        "test_resnet", decoder="linear", classes=list(ANIMALS), image_size=32, resize="resize"
    )
    model.provenance = {"of": "before"}
    return model


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, right[name]) for name, value in left.items())


def fail_at(step: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TrainingModule.training_step

    def training_step(self: TrainingModule, *args: Any) -> None:
        if self.global_step == step:
            raise error
        plain(self, *args)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)


@pytest.mark.parametrize("error", [ZeroDivisionError("halfway"), torch.OutOfMemoryError("halfway")])
def test_halfway_the_model_keeps_its_last_weights_and_its_modes(
    model: Model,
    scenes: Path,
    tmp_path: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model.train()
    model.backbone.eval()
    before, old_modes = weights(model), modes(model)
    fail_at(2, error, monkeypatch)
    with pytest.raises((ZeroDivisionError, RunError), match="halfway"):
        model.fit(scenes / "animals", out=tmp_path / "run", **QUICK)
    assert modes(model) == old_modes and any(old_modes) and not all(old_modes)
    assert not same(weights(model), before)
    assert capsys.readouterr().err.endswith(TOLD)
    assert model.provenance != {"of": "before"}, "its weights are of this run"


def test_before_the_first_step_the_model_is_unchanged(
    model: Model,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = weights(model.eval())
    fail_at(0, ZeroDivisionError("at once"), monkeypatch)
    with pytest.raises(ZeroDivisionError, match="at once"):
        model.fit(scenes / "animals", out=tmp_path / "run", **QUICK)
    with pytest.raises(DataError, match="no such folder"):
        model.fit(tmp_path / "nothing", out=tmp_path / "run", **QUICK)
    assert same(weights(model), before) and not any(modes(model)) and model.provenance == {"of": "before"}
    assert TOLD not in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_stopped_run_has_its_best_weights_in_the_folder(
    model: Model, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = -(-len(list((scenes / "animals" / "train").glob("*/*"))) // QUICK["batch_size"])
    fail_at(steps + 1, ZeroDivisionError("in the second epoch"), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        model.eval().fit(scenes / "animals", out=tmp_path / "run", **QUICK)
    assert not any(modes(model))
    best = vertebra.load(tmp_path / "run")
    assert isinstance(best, Model) and not same(weights(best), weights(model))

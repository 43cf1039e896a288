"""One training step: losses divided once, whatever the micro batches; frozen parts; parameter groups."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import vertebra
from vertebra.config import TrainConfig
from vertebra.training.optimization import MovingAverage, parameter_groups, rate_at
from vertebra.training.step import draw_seed


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def test_two_micro_batches_move_the_weights_like_one_batch(three_branches: dict[str, Any], tmp_path: Path) -> None:
    """Without BatchNorm and dropout, whose work depends on the micro batch, the step is the same."""
    config = copy.deepcopy(three_branches)
    config["model"] = {
        "backbone": {"name": "convnext_atto"},
        "branches": {
            "animal": {"decoder": {"name": "linear", "dropout": 0.0}, "classes": ["bird", "crab", "fish", "snail"]},
            "boxes": {"neck": "fpn", "decoder": "retinanet"},
        },
    }
    config["data"]["train"] = config["data"]["train"][:2]
    config["train"] |= {"epochs": 1, "optimizer": "sgd", "lr": 0.001, "ema": None, "image_size": [64, 64]}
    whole = vertebra.train(config, out=tmp_path / "whole")
    config["train"] |= {"batch_size": 3, "accumulate": 2}
    parts = vertebra.train(config, out=tmp_path / "parts")
    for name, value in last_state(whole).items():
        torch.testing.assert_close(last_state(parts)[name], value, rtol=1e-3, atol=2e-5)


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_norms_and_biases_are_spared_and_a_pretrained_backbone_learns_slower() -> None:
    model = vertebra.create_model("test_vit", decoder="linear", classes=["a", "b"], image_size=64)
    recipe = TrainConfig(lr=1.0, backbone_lr=0.1, weight_decay=0.5)
    groups = parameter_groups(model.backbone, model, recipe, pretrained=True)
    found = {(group["lr"], group["weight_decay"]) for group in groups}
    assert found == {(0.1, 0.5), (0.1, 0.0), (1.0, 0.5), (1.0, 0.0)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    spared = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert "backbone.body.pos_embed" in spared and "backbone.body.cls_token" in spared
    assert all(model.get_parameter(name).ndim <= 1 for name in spared if "pos_embed" not in name and "token" not in name)
    assert {group["lr"] for group in parameter_groups(model.backbone, model, recipe, pretrained=False)} == {1.0}


def test_frozen_stages_do_not_move(three_branches: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(three_branches)
    config["model"]["backbone"] = {"name": "resnet10t", "freeze": 2}
    config["train"] |= {"epochs": 1, "ema": None}
    run = vertebra.train(config, out=tmp_path / "frozen")
    torch.manual_seed(0)
    fresh = vertebra.create_model(config["model"]["backbone"], branches={"a": {"decoder": "linear", "classes": ["a", "b"]}})
    start = {name: value for name, value in fresh.state_dict().items() if name.startswith("backbone")}
    moved = {name.split(".")[3] for name, value in last_state(run).items()
             if name.startswith("model.backbone") and not torch.equal(value, start[name.removeprefix("model.")])}  # fmt: skip
    assert moved == {"layer2", "layer3", "layer4"}


def test_the_average_follows_slowly_and_copies_counters() -> None:
    model = torch.nn.BatchNorm1d(2)
    average = MovingAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(3.0)
    model.num_batches_tracked += 5
    average.update(model)
    keep = 2 / 11
    assert average.model.weight.tolist() == pytest.approx([keep * 1 + (1 - keep) * 3] * 2)
    assert int(average.model.num_batches_tracked) == 5


def test_seeds_mix_all_numbers() -> None:
    assert len({draw_seed(a, b) for a in range(10) for b in range(10)}) == 100
    assert draw_seed(1, 2) == draw_seed(1, 2)

"""Optimizers of torch and timm by name, with their options as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm.optim
import torch
from torch import nn

import vertebra
from vertebra.config import TrainConfig
from vertebra.errors import ConfigError, UnknownName
from vertebra.training.optimizers import check_optimizer, make_optimizer, peak_lr, weight_decay


def made(**recipe: Any) -> torch.optim.Optimizer:
    config = TrainConfig(**recipe)
    check_optimizer(config)
    weight = nn.Parameter(torch.ones(2, 2))
    group = {"params": [weight], "lr": peak_lr(config), "weight_decay": weight_decay(config)}
    return make_optimizer([group], config)


def test_the_defaults_are_what_they_were() -> None:
    adamw, sgd = made(), made(optimizer="sgd")
    assert type(adamw) is torch.optim.AdamW and type(sgd) is torch.optim.SGD
    assert {key: adamw.defaults[key] for key in ("betas", "fused")} == {"betas": (0.9, 0.999), "fused": True}
    assert (adamw.param_groups[0]["lr"], adamw.param_groups[0]["weight_decay"]) == (1e-3, 0.05)
    assert {key: sgd.defaults[key] for key in ("momentum", "nesterov", "fused")} == {
        "momentum": 0.9, "nesterov": True, "fused": True,
    }  # fmt: skip
    assert (sgd.param_groups[0]["lr"], sgd.param_groups[0]["weight_decay"]) == (2e-2, 1e-4)


def test_options_are_those_of_the_class() -> None:
    assert made(optimizer={"betas": [0.8, 0.9]}).defaults["betas"] == (0.8, 0.9)
    sgd = made(optimizer={"name": "sgd", "momentum": 0})
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0, False)
    assert made(optimizer={"name": "adam", "foreach": True}).defaults["fused"] is None
    assert type(made(optimizer="rmsprop")) is torch.optim.RMSprop


def test_timm_has_more() -> None:
    lion = made(optimizer="lion")
    assert type(lion) is timm.optim.get_optimizer_class("lion", bind_defaults=False)
    assert lion.param_groups[0]["lr"] == 1e-4
    assert made(optimizer="lamb", lr=0.5, weight_decay=0.25).param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize(
    ("recipe", "kind", "message"),
    [
        ({"optimizer": "adamww"}, UnknownName, "unknown optimizer 'adamww'. Did you mean 'adamw'"),
        ({"optimizer": {"momentum": 0.5}}, UnknownName, "option 'train.optimizer.momentum'"),
        ({"optimizer": {"name": "sgd", "momentun": 0.5}}, UnknownName, "Did you mean 'momentum'"),
        ({"optimizer": {"lr": 0.5}}, ConfigError, "'train.optimizer.lr' is set as train.lr"),
        ({"optimizer": {"name": "sgd", "momentum": "high"}}, ConfigError, "'sgd' cannot train with momentum: high: "),
        ({"optimizer": {"betas": [2, 2]}}, ConfigError, r"'adamw' cannot train with betas: \[2, 2\]: Invalid beta"),
        ({"optimizer": "lbfgs"}, ConfigError, "'lbfgs' cannot train with no options"),
        (
            {"optimizer": "rprop", "weight_decay": 0.1},
            ConfigError,
            "'train.weight_decay' has no effect: optimizer 'rprop'",
        ),
        ({"optimizer": "adahessian"}, ConfigError, "needs second derivatives"),
    ],
)
def test_what_cannot_train_is_refused(recipe: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        made(**recipe)


def test_a_run_with_another_optimizer_and_schedule(scenes: Path, tmp_path: Path) -> None:
    run = vertebra.train(
        data=str(scenes / "animals"),
        model={"backbone": "test_resnet", "decoder": "linear"},
        train={
            "epochs": 1, "batch_size": 6, "image_size": 32, "workers": 0, "precision": "32", "lr_schedule": "constant",
            "optimizer": {"name": "lion", "betas": [0.9, 0.95]}, "warmup": 0,
        },
        out=tmp_path / "run",
    )  # fmt: skip
    state = torch.load(Path(getattr(run, "folder", run)) / "last.ckpt", weights_only=True)
    group = state["optimizer_states"][0]["param_groups"][0]
    assert tuple(group["betas"]) == (0.9, 0.95) and group["lr"] == 1e-4

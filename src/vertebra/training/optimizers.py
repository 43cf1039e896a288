"""Optimizers by name, from ``torch.optim`` and ``timm.optim``, with their options as data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import timm.optim
import torch
from torch import nn

from vertebra.config import TrainConfig
from vertebra.errors import ConfigError, UnknownName, shortened

RATES = {"adamw": 1e-3, "sgd": 2e-2}  # defaults that suit most models
DECAYS = {"adamw": 0.05, "sgd": 1e-4}
FUSED = ("adam", "adamw", "sgd")  # have a fused kernel for all parameters, on the CPU and on CUDA
SET_ELSEWHERE = {"lr": "train.lr", "weight_decay": "train.weight_decay"}


class OptimizerKind(NamedTuple):
    """The optimizer of a name.

    Attributes:
        kind: its class.
        bound: options that the name implies, such as Nesterov momentum for timm's "nesterov".
        options: the arguments of the class, other than the learning rate and the weight decay.
        lr: the default of the class; None where it has none.
        weight_decay: the default of the class; None where it has no weight decay.
    """

    kind: type[torch.optim.Optimizer]
    bound: Mapping[str, Any]
    options: tuple[str, ...]
    lr: float | None
    weight_decay: float | None


def find_optimizer(name: str) -> OptimizerKind:
    """The optimizer of a name: torch's by the class's name in lower case, then timm's.

    Raises:
        UnknownName: with the nearest names.
    """
    classes = _torch_optimizers()
    if name in classes:
        return _described(classes[name], {})
    if name not in timm.optim.list_optimizers():
        raise UnknownName("optimizer", name, [*classes, *timm.optim.list_optimizers()])
    info = timm.optim.get_optimizer_info(name)
    if info.second_order:
        raise ConfigError(f"optimizer '{name}' needs second derivatives, which training does not compute")
    if not isinstance(info.opt_class, type):
        raise ConfigError(f"optimizer '{name}' of timm is a function, not a class; choose another")
    return _described(info.opt_class, info.defaults or {})


def _torch_optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    kinds = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
    base = torch.optim.Optimizer
    return {kind.__name__.lower(): kind for kind in kinds if issubclass(kind, base) and kind is not base}


def _described(kind: type[torch.optim.Optimizer], bound: Mapping[str, Any]) -> OptimizerKind:
    parameters = dict(list(inspect.signature(kind).parameters.items())[1:])  # the first are the weights
    names = tuple(
        name
        for name, parameter in parameters.items()
        if name not in SET_ELSEWHERE and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    )
    return OptimizerKind(kind, bound, names, _number(parameters.get("lr")), _number(parameters.get("weight_decay")))


def _number(parameter: inspect.Parameter | None) -> float | None:
    """A parameter's default where it is a number."""
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, int | float) else None


def peak_lr(recipe: TrainConfig) -> float:
    """The peak learning rate: that of the recipe, or the optimizer's default.

    Raises:
        ConfigError: there is no default.
    """
    if recipe.lr is not None:
        return recipe.lr
    name = recipe.optimizer.name
    default = RATES.get(name, find_optimizer(name).lr)
    if not default:
        raise ConfigError(f"optimizer '{name}' has no default learning rate; set train.lr")
    return default


def weight_decay(recipe: TrainConfig) -> float:
    """The weight decay: that of the recipe, or the optimizer's default.

    Raises:
        ConfigError: it is set, but the optimizer has no weight decay.
    """
    name = recipe.optimizer.name
    default = DECAYS.get(name, find_optimizer(name).weight_decay)
    if recipe.weight_decay is None:
        return default or 0.0
    if default is None:
        raise ConfigError(f"'train.weight_decay' has no effect: optimizer '{name}' has no weight decay. Leave it out")
    return recipe.weight_decay


def make_optimizer(groups: list[dict[str, Any]], recipe: TrainConfig) -> torch.optim.Optimizer:
    """The recipe's optimizer; fused where the optimizer and the device support it.

    By default AdamW (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101); "sgd" has Nesterov momentum 0.9.

    Args:
        groups: of parameters, each with its learning rate and weight decay.
    """
    name, options = recipe.optimizer.name, recipe.optimizer.options
    described = find_optimizer(name)
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if name == "sgd":
        arguments = {"momentum": 0.9, **arguments}
        arguments.setdefault("nesterov", bool(arguments["momentum"]) and not arguments.get("dampening"))
    if name in FUSED and not {"fused", "foreach"} & arguments.keys():
        arguments["fused"] = _supports_fused(groups)
    make: Any = described.kind
    optimizer: torch.optim.Optimizer = make(groups, lr=groups[0]["lr"], **{**described.bound, **arguments})
    return optimizer


def _supports_fused(groups: list[dict[str, Any]]) -> bool:
    return {parameter.device.type for group in groups for parameter in group["params"]} <= {"cpu", "cuda"}


def check_optimizer(recipe: TrainConfig) -> None:
    """Checks the recipe's optimizer by a step on two small weights.

    Raises:
        UnknownName: there is no such optimizer or option; with the nearest name.
        ConfigError: a value is wrong, an option belongs elsewhere or has no effect, or the optimizer cannot train a model.
    """
    name, options = recipe.optimizer.name, recipe.optimizer.options
    described = find_optimizer(name)
    for key in options:
        if key in SET_ELSEWHERE:
            raise ConfigError(f"'train.optimizer.{key}' is set as {SET_ELSEWHERE[key]}")
        if key not in described.options:
            raise UnknownName(f"option 'train.optimizer.{key}':", key, described.options)
    weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    groups = [{"params": [weight], "lr": peak_lr(recipe), "weight_decay": weight_decay(recipe)} for weight in weights]
    try:
        make_optimizer(groups, recipe).step()
    except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError, ImportError) as error:
        listed = ", ".join(f"{key}: {value}" for key, value in options.items()) or "no options"
        raise ConfigError(
            f"train.optimizer: '{name}' cannot train with {listed}: {shortened(str(error) or type(error).__name__, 160)}"
        ) from error

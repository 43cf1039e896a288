"""The optimizer's parameter groups: learning rate and weight decay of each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import timm.optim
from torch import nn

from vertebra.training.optimizers import peak_lr, weight_decay
from vertebra.training.resolved_config import ResolvedTrain


def parameter_groups(
    backbone: nn.Module, whole: nn.Module, recipe: ResolvedTrain, pretrained: bool
) -> list[dict[str, Any]]:
    """Groups for the optimizer: a pretrained backbone with its learning rates; norms, biases and other vectors (scales,
    tokens) without weight decay.

    Frozen parameters are left out. Each group has ``pretrained``: whether it belongs to a pretrained backbone.
    """
    rate, decay = peak_lr(recipe), weight_decay(recipe)
    layer_factors = _layer_factors(backbone, recipe.layer_decay) if pretrained else {}
    no_decay = _embeddings(whole)
    groups: dict[tuple[float | None, bool], list[nn.Parameter]] = {}
    for parameter in whole.parameters():
        if parameter.requires_grad:
            without_decay = parameter.ndim <= 1 or id(parameter) in no_decay
            groups.setdefault((layer_factors.get(id(parameter)), without_decay), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * (1.0 if layer_factor is None else recipe.backbone_lr * layer_factor),
            "weight_decay": 0.0 if without_decay else decay,
            "pretrained": layer_factor is not None,
        }
        for (layer_factor, without_decay), parameters in groups.items()
    ]


def _layer_factors(backbone: nn.Module, layer_decay: float) -> dict[int, float]:
    """The factor of the learning rate of each parameter of a backbone, by the parameter's id: 1 in the last layer.

    Layer-wise decay is that of BEiT (Bao et al., ICLR 2022, arXiv 2106.08254); timm divides a model into layers.
    """
    factors = {id(parameter): 1.0 for parameter in backbone.parameters()}
    if layer_decay < 1:
        body = getattr(backbone, "body", backbone)
        for group in timm.optim.param_groups_layer_decay(body, layer_decay=layer_decay):
            factors |= {id(parameter): float(group["lr_scale"]) for parameter in group["params"]}
        largest = max(factors[id(parameter)] for parameter in body.parameters() if parameter.requires_grad)
        factors = {key: min(1.0, factor / largest) for key, factor in factors.items()}  # the classifier is not trained
    return factors


def _embeddings(module: nn.Module) -> set[int]:
    """Ids of position embeddings and class tokens, which timm's models list in ``no_weight_decay()``."""
    no_decay: set[int] = set()
    for inner in module.modules():
        listed: Callable[[], Iterable[str]] | None = getattr(inner, "no_weight_decay", None)
        if callable(listed):
            names = set(listed())
            no_decay |= {id(parameter) for name, parameter in inner.named_parameters() if name in names}
    return no_decay

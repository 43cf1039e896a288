"""The optimizer's parameter groups: learning rate and weight decay of each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from vertebra.config import TrainConfig
from vertebra.training.optimizers import peak_lr, weight_decay


def parameter_groups(
    backbone: nn.Module, whole: nn.Module, recipe: TrainConfig, pretrained: bool
) -> list[dict[str, Any]]:
    """Groups for the optimizer: a pretrained backbone with its learning rate; norms, biases and other vectors (scales,
    tokens) without weight decay.

    Frozen parameters are left out.
    """
    rate, decay = peak_lr(recipe), weight_decay(recipe)
    backbone_ids = {id(parameter) for parameter in backbone.parameters()}
    no_decay = _embeddings(whole)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in whole.parameters():
        if parameter.requires_grad:
            without_decay = parameter.ndim <= 1 or id(parameter) in no_decay
            groups.setdefault((id(parameter) in backbone_ids and pretrained, without_decay), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * (recipe.backbone_lr if in_backbone else 1.0),
            "weight_decay": 0.0 if without_decay else decay,
        }
        for (in_backbone, without_decay), parameters in groups.items()
    ]


def _embeddings(module: nn.Module) -> set[int]:
    """Ids of position embeddings and class tokens, which timm's models list in ``no_weight_decay()``."""
    no_decay: set[int] = set()
    for inner in module.modules():
        listed: Callable[[], Iterable[str]] | None = getattr(inner, "no_weight_decay", None)
        if callable(listed):
            names = set(listed())
            no_decay |= {id(parameter) for name, parameter in inner.named_parameters() if name in names}
    return no_decay

"""The optimizer's parameter groups, and the moving average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
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


class MovingAverage(nn.Module):
    """An exponential moving average of a model's weights and buffers.

    The decay grows from small to its final value with the number of updates n, as min(decay, (1 + n) / (10 + n)), so
    that the initial weights have little effect on short runs.

    Args:
        model: the model to average; it is copied.
        decay: final decay.
    """

    updates: torch.Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> MovingAverage:
        """The average is always in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Updates the average with the model's current weights."""
        self.updates += 1
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        if moving:
            torch._foreach_lerp_([average for average, _ in moving], [new for _, new in moving], 1 - decay)
        if copied:
            torch._foreach_copy_([average for average, _ in copied], [new for _, new in copied])

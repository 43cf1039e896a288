"""The optimizer's parameter groups, the course of the learning rate, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from vertebra.config import TrainConfig

RATES = {"adamw": 1e-3, "sgd": 2e-2}
DECAYS = {"adamw": 0.05, "sgd": 1e-4}


def parameter_groups(
    backbone: nn.Module, whole: nn.Module, recipe: TrainConfig, pretrained: bool
) -> list[dict[str, Any]]:
    """Groups for the optimizer: the backbone at its own rate where it is pretrained; norms, biases and other vectors
    (scales, tokens) without weight decay.

    Frozen parameters are left out.
    """
    rate = recipe.lr or RATES[recipe.optimizer]
    decay = DECAYS[recipe.optimizer] if recipe.weight_decay is None else recipe.weight_decay
    own = {id(parameter) for parameter in backbone.parameters()}
    spared = _embeddings(whole)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in whole.parameters():
        if parameter.requires_grad:
            plain = parameter.ndim <= 1 or id(parameter) in spared
            groups.setdefault((id(parameter) in own and pretrained, plain), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * (recipe.backbone_lr if in_backbone else 1.0),
            "weight_decay": 0.0 if plain else decay,
        }
        for (in_backbone, plain), parameters in groups.items()
    ]


def _embeddings(module: nn.Module) -> set[int]:
    """Position embeddings and class tokens: timm's models list them in ``no_weight_decay()``."""
    found: set[int] = set()
    for inner in module.modules():
        listed: Callable[[], Iterable[str]] | None = getattr(inner, "no_weight_decay", None)
        if callable(listed):
            names = set(listed())
            found |= {id(parameter) for name, parameter in inner.named_parameters() if name in names}
    return found


def make_optimizer(groups: list[dict[str, Any]], recipe: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101), or SGD with Nesterov momentum 0.9; as one kernel where the
    device has it."""
    fused = _fused(groups)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=fused)
    return torch.optim.SGD(groups, lr=groups[0]["lr"], momentum=0.9, nesterov=True, fused=fused)


def _fused(groups: list[dict[str, Any]]) -> bool:
    """Whether the optimizer's step is one kernel."""
    return {parameter.device.type for group in groups for parameter in group["params"]} <= {"cpu", "cuda"}


def rate_at(step: int, total: int, warmup: float, floor: float = 0.01) -> float:
    """Factor of the learning rate: a linear rise over the first ``warmup`` part of all steps, then half a cosine.

    Args:
        step: how many steps are done.
        total: how many there will be.
        floor: where the cosine ends.
    """
    rise = max(1, math.ceil(total * warmup))
    if step < rise:
        return (step + 1) / rise
    fallen = min(1.0, (step - rise) / max(1, total - rise))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fallen))


class MovingAverage(nn.Module):
    """An exponential moving average of a model's weights and buffers.

    The decay grows from small to its final value with the number of updates n, as min(decay, (1 + n) / (10 + n)), so
    that a short run is not held back by its random start.

    Args:
        model: the model to follow; a copy of it is kept.
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
        """Moves the average towards the model as it is now."""
        self.updates += 1
        count = int(self.updates)
        keep = min(self.decay, (1 + count) / (10 + count))
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        if moving:
            torch._foreach_lerp_([own for own, _ in moving], [new for _, new in moving], 1 - keep)
        if copied:
            torch._foreach_copy_([own for own, _ in copied], [new for _, new in copied])

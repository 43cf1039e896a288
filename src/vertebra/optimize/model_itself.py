"""Prediction with a model itself, where no copy can replace it: it has hooks of its user, or it cannot be copied."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_modules

from vertebra.optimize.foreign_modules import HOOKS, KNOWN

GLOBAL_HOOKS: tuple[dict[int, Any], ...] = (
    torch_modules._global_forward_hooks,
    torch_modules._global_forward_pre_hooks,
)
"""PyTorch's tables of the hooks that run on every module."""

_TURN = RLock()  # the training mode of a model is one state for all threads; a hook may predict with another model


def user_hooks(model: nn.Module) -> list[str]:
    """Names of the modules with forward hooks of the user. Hooks that PyTorch and timm register, such as those of weight
    normalization, are not among them. Hooks for all modules count as hooks of the model.

    Args:
        model: any module; its own name is "the model".
    """
    names = [
        name or "the model"
        for name, module in model.named_modules()
        if any(_is_users(hook) for table in HOOKS for hook in getattr(module, table).values())
    ]
    everywhere = any(_is_users(hook) for table in GLOBAL_HOOKS for hook in table.values())
    return ["all modules", *names] if everywhere else names


def _is_users(hook: Any) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    package = getattr(hook, "__module__", None) or type(hook).__module__
    return package.partition(".")[0] not in KNOWN


def device_of(model: nn.Module, default: torch.device) -> torch.device:
    """The device of a model's parameters and buffers; ``default`` for a model without any."""
    tensors = (value for values in (model.parameters(), model.buffers()) for value in values)
    return next((value.device for value in tensors), default)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and the mode of each module from before afterwards. Threads take turns."""
    with _TURN:
        training = [module for module in model.modules() if module.training]
        if training:
            model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

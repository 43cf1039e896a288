"""Prediction in half precision: weights in bf16 or fp16, and autocast for operations that need float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import nn

from vertebra.errors import ConfigError, UnknownName

Precision = Literal["fp32", "bf16", "fp16"]
TYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def require_precision(precision: Precision, device: torch.device) -> None:
    """Checks a precision.

    Raises:
        ConfigError: there is no such precision, or the device does not compute in it.
    """
    if precision not in get_args(Precision):
        raise UnknownName("precision", precision, get_args(Precision))
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision: a CPU has no fast fp16; take bf16 or fp32")


def cast_weights(model: nn.Module, precision: Precision, device: torch.device) -> int:
    """Stores the weights of convolutions and linear layers in half precision, in place, as new tensors.

    `autocast_context` casts the inputs. Casting weights in every call would cost more time than half precision saves.

    Returns:
        The number of layers that were cast.

    Raises:
        ConfigError: there is no such precision, or the device does not compute in it.
    """
    require_precision(precision, device)
    if precision == "fp32":
        return 0
    cast = 0
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            for name, value in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(value.detach().to(TYPES[precision]), requires_grad=False))
            cast += 1
    return cast


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a model runs after `cast_weights`. The autocast cache is off: a captured CUDA graph would read cached
    tensors after they are freed."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, TYPES[precision], cache_enabled=False)

"""Which numbers a run computes with."""

from __future__ import annotations

import torch
from torch import nn

from vertebra.config import TrainConfig
from vertebra.errors import ConfigError
from vertebra.inference.devices import pick_device


def choose_precision(recipe: TrainConfig, model: nn.Module) -> str:
    """Lightning's name of the precision: mixed bfloat16 where the device computes in it faster, else 32 bit.

    On a CPU torch 2.14 gives wrong weight gradients, up to infinite ones, for grouped convolutions that are dilated, in
    bfloat16 and channels-last order (oneDNN's kernel; float32 is right). Models that have some train in 32 bit there.

    Raises:
        ConfigError: mixed bfloat16 was asked for where its gradients would be wrong.
    """
    device = pick_device(
        None if recipe.accelerator == "auto" else {"gpu": "cuda"}.get(recipe.accelerator, recipe.accelerator)
    )
    dilated = None if device.type != "cpu" else dilated_groups(model)
    if recipe.precision != "auto":
        if recipe.precision == "bf16-mixed" and dilated is not None:
            raise ConfigError(
                f"train.precision: on a CPU torch's bfloat16 gradients of dilated grouped convolutions are wrong, and this "
                f"model has one ({dilated}); take 32, or auto"
            )
        return {"32": "32-true"}.get(recipe.precision, recipe.precision)
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if device.type == "cpu" and dilated is None and torch.cpu._is_avx512_bf16_supported():
        return "bf16-mixed"
    return "32-true"


def dilated_groups(model: nn.Module) -> str | None:
    """Name of the first grouped (for example depthwise) convolution that is dilated, or None."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and max(layer.dilation) > 1:
            return str(name)
    return None

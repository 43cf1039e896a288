"""Random weights for a peer's model, so that no errors cancel."""

from __future__ import annotations

import torch
from torch import nn


def randomize(module: nn.Module) -> nn.Module:
    """Random norms (statistics too) and biases, small enough to keep activations bounded; in evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_var is not None:
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, 0.0, 0.1)
        if getattr(layer, "weight", None) is not None and isinstance(
            layer, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
        ):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
        if isinstance(getattr(layer, "bias", None), nn.Parameter):
            nn.init.normal_(layer.bias, 0.0, 0.1)
    return module.eval()


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} and {tuple(theirs.shape)}"
    return float((ours - theirs).abs().max() / theirs.abs().max())

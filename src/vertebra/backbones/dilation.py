"""Dilation of ResNet stages."""

from __future__ import annotations

from typing import Any

from torch import nn

from vertebra.errors import ConfigError


def dilate_first(body: nn.Module, name: str) -> None:
    """Gives the first block of each dilated stage of a ResNet the same dilation as the other blocks.

    timm and torchvision give the first block the dilation of the previous stage.

    Raises:
        ConfigError: the body is not a ResNet.
    """
    stages: list[Any] = [getattr(body, f"layer{number}", None) for number in range(1, 5)]
    if None in stages:
        raise ConfigError(f"backbone '{name}' is not a ResNet; remove 'dilate_first'")
    for stage in stages:
        convs = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
        rate = max(conv.dilation[0] for conv in convs)
        for conv in convs:
            if conv.kernel_size[0] > 1:
                conv.dilation = (rate, rate)
                conv.padding = (rate * (conv.kernel_size[0] // 2),) * 2

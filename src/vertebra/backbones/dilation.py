"""Dilation of whole stages."""

from __future__ import annotations

from typing import Any

from torch import nn

from vertebra.errors import ConfigError


def dilate_first(body: nn.Module, name: str) -> None:
    """Lets the first block of each dilated stage of a ResNet dilate as those after it do.

    timm, like torchvision, gives the first block the rate of the stage before.

    Raises:
        ConfigError: it is no ResNet.
    """
    stages: list[Any] = [getattr(body, f"layer{number}", None) for number in range(1, 5)]
    if None in stages:
        raise ConfigError(f"backbone '{name}' is no ResNet; leave out 'dilate_first'")
    for stage in stages:
        convs = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
        rate = max(conv.dilation[0] for conv in convs)
        for conv in convs:
            if conv.kernel_size[0] > 1:
                conv.dilation = (rate, rate)
                conv.padding = (rate * (conv.kernel_size[0] // 2),) * 2

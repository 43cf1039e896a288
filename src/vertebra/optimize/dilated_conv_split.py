"""Splits wide dilated convolutions in bfloat16 into sums over groups of input channels.

On processors with AMX, oneDNN is slow for dilated convolutions with many channels: one with 2048, as in atrous spatial pyramid
pooling, takes five times as long as four with 512 together. The partial sums are rounded to bfloat16, which raises the error of
the output from 1.7 to 2.6 thousandths of its size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vertebra.optimize.conv_prepack import PackedConv

WIDE = 1024  # minimum input channels of a convolution that is split
GROUP = 512  # channels of one convolution


def split_dilated(model: nn.Module) -> int:
    """Splits the wide dilated convolutions of a model, in place. Call it after `pack_convolutions` and before the model runs: it
    splits only convolutions that are packed.

    Returns:
        The number of split convolutions; 0 on a processor without AMX.
    """
    if not torch.cpu._is_amx_tile_supported():
        return 0
    wide = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, PackedConv) and _is_wide(child)
    ]
    for parent, name, packed in wide:
        setattr(parent, name, SplitConv(packed))
    return len(wide)


class SplitConv(nn.Module):
    """A convolution computed as the sum of several, each over a part of the input channels; and its activation.

    Args:
        packed: the convolution, with one group.
    """

    def __init__(self, packed: PackedConv) -> None:
        super().__init__()
        weights = torch.split(packed.weight, GROUP, dim=1)
        self.channels = [weight.shape[1] for weight in weights]
        self.parts = nn.ModuleList(_part(packed.conv, weight, first=index == 0) for index, weight in enumerate(weights))
        self.activation: nn.Module | None = packed.activation
        self.dtype = packed.weight.dtype

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) to maps."""
        groups = [
            group.contiguous(memory_format=torch.channels_last)
            for group in torch.split(maps.to(self.dtype), self.channels, dim=1)
        ]
        first, *rest = cast(list[PackedConv], list(self.parts))
        total: Tensor = first(groups[0])
        for part, group in zip(rest, groups[1:], strict=True):
            total = part.plus(group, total, rectified=False)
        return total if self.activation is None else self.activation(total)  # type: ignore[no-any-return]


def _is_wide(packed: PackedConv) -> bool:
    conv = packed.conv
    dilated = max(conv.dilation) > 1 and conv.groups == 1 and conv.in_channels >= WIDE
    return dilated and packed.weight.dtype == torch.bfloat16


def _part(conv: nn.Conv2d, weight: Tensor, *, first: bool) -> PackedConv:
    """The part of a convolution for some of its input channels; the first part has the bias."""
    with torch.device("meta"):
        part = nn.Conv2d(
            weight.shape[1],
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
        )
    part.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    bias = conv.bias if first else None
    part.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return PackedConv(part.eval(), None)

"""Wide dilated convolutions in bfloat16 as sums over groups of their channels.

On processors with AMX, oneDNN has no good way for a dilated convolution of many channels: one of 2048, as in atrous spatial pyramid
pooling, takes five times as long as four of 512 do together. Between these the sums are rounded to bfloat16, by which the result's
error grows from 1.7 to 2.6 thousandths of its size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vertebra.optimize.conv_prepack import PackedConv

WIDE = 1024  # channels from which it pays
GROUP = 512  # channels of one convolution


def split_dilated(model: nn.Module) -> int:
    """Takes the wide dilated convolutions of a model apart, in place; after `pack_convolutions`, of those that it has packed, and
    before they are used.

    Returns:
        How many there were; 0 on a processor without AMX.
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
    """A convolution as the sum of several, each of which reads some of the channels; and its activation.

    Args:
        packed: what it does; in one group.
    """

    def __init__(self, packed: PackedConv) -> None:
        super().__init__()
        weights = torch.split(packed.weight, GROUP, dim=1)
        self.channels = [weight.shape[1] for weight in weights]
        self.parts = nn.ModuleList(_part(packed.conv, weight, first=place == 0) for place, weight in enumerate(weights))
        self.activation: nn.Module | None = packed.activation
        self.dtype = packed.weight.dtype

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) to maps."""
        groups = [
            group.contiguous(memory_format=torch.channels_last)
            for group in torch.split(maps.to(self.dtype), self.channels, dim=1)
        ]
        first, *others = cast(list[PackedConv], list(self.parts))
        total: Tensor = first(groups[0])
        for part, group in zip(others, groups[1:], strict=True):
            total = part.plus(group, total, rectified=False)
        return total if self.activation is None else self.activation(total)  # type: ignore[no-any-return]


def _is_wide(packed: PackedConv) -> bool:
    conv = packed.conv
    dilated = max(conv.dilation) > 1 and conv.groups == 1 and conv.in_channels >= WIDE
    return dilated and packed.weight.dtype == torch.bfloat16


def _part(conv: nn.Conv2d, weight: Tensor, *, first: bool) -> PackedConv:
    """A convolution like another, of some of its channels; the first has the bias."""
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

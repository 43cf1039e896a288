"""Wide dilated convolutions in bfloat16 as sums over groups of their channels.

On processors with AMX, oneDNN has no good way for a dilated convolution of many channels: one of 2048, as in atrous spatial pyramid
pooling, takes five times as long as four of 512 do together.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vertebra.inference.packing import PackedConv
from vertebra.inference.watching import single_places

WIDEST = 512  # channels of one convolution


def split_dilated(model: nn.Module) -> int:
    """Takes every dilated convolution of more than `WIDEST` channels apart, in place; before `pack_convolutions`.

    Returns:
        How many there were.
    """
    wide = [(conv, *place) for conv, place in single_places(model).items() if _is_wide(conv)]
    for conv, parent, name in wide:
        setattr(parent, name, SplitConv(cast(nn.Conv2d, conv)))
    return len(wide)


class SplitConv(nn.Module):
    """A convolution as the sum of several, each of which reads some of the channels.

    Args:
        conv: what it does; in one group.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.dtype = conv.weight.dtype
        weights = torch.split(conv.weight.detach(), WIDEST, dim=1)
        self.channels = [weight.shape[1] for weight in weights]
        self.parts = nn.ModuleList(_part(conv, weight, first=place == 0) for place, weight in enumerate(weights))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) to maps."""
        groups = [
            group.contiguous(memory_format=torch.channels_last)
            for group in torch.split(maps.to(self.dtype), self.channels, dim=1)
        ]
        total: Tensor = self.parts[0](groups[0])
        for part, group in zip(list(self.parts)[1:], groups[1:], strict=True):
            total = part.plus(group, total, rectified=False) if isinstance(part, PackedConv) else total + part(group)
        return total


def _is_wide(conv: nn.Module) -> bool:
    return type(conv) is nn.Conv2d and max(conv.dilation) > 1 and conv.groups == 1 and conv.in_channels > WIDEST


def _part(conv: nn.Conv2d, weight: Tensor, *, first: bool) -> nn.Conv2d:
    """A convolution like another, of some of its channels; the first has the bias."""
    with torch.device("meta"):
        part = nn.Conv2d(
            weight.shape[1],
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            padding_mode=conv.padding_mode,
        )
    part.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    bias = conv.bias if first else None
    part.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return part.eval()

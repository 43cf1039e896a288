"""Cross-stage partial (CSP) blocks of RepVGG blocks."""

from __future__ import annotations

from torch import Tensor, nn

from vertebra.layers.norm import PooledBatchNorm


class ConvNormSiLU(nn.Sequential):
    """A convolution with "same" padding, BatchNorm, and SiLU.

    Args:
        kernel_size: odd.
        activation: whether SiLU follows.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, *, stride: int = 1, activation: bool = True
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            PooledBatchNorm(out_channels),
            nn.SiLU() if activation else nn.Identity(),
        )


class RepVGGBlock(nn.Module):
    """A 3x3 and a 1x1 convolution in parallel, each normalized; SiLU of their sum.

    Ding et al., RepVGG: Making VGG-style ConvNets Great Again, CVPR 2021, arXiv 2101.03697 (without the identity path).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = ConvNormSiLU(channels, channels, 3, activation=False)
        self.narrow = ConvNormSiLU(channels, channels, 1, activation=False)
        self.activation = nn.SiLU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, h, w) in and out."""
        out: Tensor = self.activation(self.wide(maps) + self.narrow(maps))
        return out


class CSPRepLayer(nn.Module):
    """Two 1x1 projections of the input; one passes through RepVGG blocks, then they are added.

    Wang et al., CSPNet, CVPR Workshops 2020, arXiv 1911.11929, in the form of RT-DETR's encoder.

    Args:
        depth: number of RepVGG blocks.
        expansion: inner width, as a multiple of ``out_channels``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, depth: int = 3, expansion: float = 1.0) -> None:
        super().__init__()
        inner = max(1, int(out_channels * expansion))
        self.path = ConvNormSiLU(in_channels, inner)
        self.blocks = nn.Sequential(*(RepVGGBlock(inner) for _ in range(depth)))
        self.bypass = ConvNormSiLU(in_channels, inner)
        self.join = nn.Identity() if inner == out_channels else ConvNormSiLU(inner, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """From (N, in_channels, h, w) to (N, out_channels, h, w)."""
        out: Tensor = self.join(self.blocks(self.path(maps)) + self.bypass(maps))
        return out

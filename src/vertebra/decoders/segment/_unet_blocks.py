"""The building blocks of U-Net and UNet++."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import FeatureSpec, Frame
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.resample import Mode, upsample, upsample_like
from vertebra.layers.squeeze_excite import ConcurrentSqueezeExcite


class DecoderBlock(nn.Sequential):
    """Upsamples a coarse map, concatenates the skip connections, and applies two 3x3 convolutions.

    Args:
        coarse: channels of the coarse map.
        skips: total channels of the skip connections; 0 for none.
        channels: output channels.
        stride: output stride.
        ratio: stride of the coarse map divided by the output stride.
        interpolation: how the coarse map is upsampled.
        norm: normalization after each convolution.
        attention: "scse" weights channels and cells, after the concatenation and at the end.
    """

    def __init__(
        self,
        coarse: int,
        skips: int,
        channels: int,
        stride: int,
        ratio: int = 2,
        *,
        interpolation: Mode,
        norm: Norm,
        attention: Literal["scse"] | None,
    ) -> None:
        super().__init__(ConvNormAct(coarse + skips, channels, norm=norm), ConvNormAct(channels, channels, norm=norm))
        self.stride, self.ratio = stride, ratio
        self.interpolation: Mode = interpolation
        self.weigh_joined = ConcurrentSqueezeExcite(coarse + skips) if attention and skips else None
        self.weigh = ConcurrentSqueezeExcite(channels) if attention else None

    def forward(self, coarse: Tensor, skips: Sequence[Tensor], frame: Frame) -> Tensor:  # type: ignore[override]
        """From (N, coarse, h, w) to (N, channels, H, W).

        Args:
            skips: maps (N, any, H, W) to concatenate; without any, H and W are ``ratio`` times h and w.
        """
        if skips:
            coarse = upsample_like(coarse, skips[0], self.ratio, self.interpolation)
            merged = torch.cat([coarse, *skips], dim=1)
        else:
            merged = upsample(coarse, self.ratio, self.interpolation)
        if self.weigh_joined is not None:
            merged = self.weigh_joined(merged, self.stride, frame)
        maps: Tensor = self[1](self[0](merged))
        return maps if self.weigh is None else self.weigh(maps, self.stride, frame)  # type: ignore[no-any-return]


def levels_to_join(in_spec: FeatureSpec, to_stride: int | None, option: str = "to_stride") -> list[int]:
    """Indices of the levels that a decoder reads, finest first: the deepest level of each stride from ``to_stride`` on.

    Args:
        option: name of the option that sets ``to_stride``, for the message.

    Raises:
        IncompatiblePartsError: they have fewer than two strides.
    """
    strides = in_spec.strides
    last = [n for n in range(len(strides)) if n + 1 == len(strides) or strides[n] != strides[n + 1]]
    used = [n for n in last if strides[n] >= (to_stride or 1)]
    if len(last) < 2:
        raise IncompatiblePartsError("levels of at least two different strides", "Add neck 'simple_pyramid'.")
    if len(used) < 2:
        raise IncompatiblePartsError(
            f"levels of at least two different strides from {to_stride} on", f"Set a smaller '{option}'."
        )
    return used


def strides_beyond(decoder: str, finest: int, to_stride: int | None) -> list[int]:
    """Strides between the finest level and ``to_stride``, each half of the previous one.

    Raises:
        ConfigError: halving ``finest`` never gives ``to_stride``.
    """
    strides: list[int] = []
    if to_stride is None or to_stride >= finest:
        return strides
    stride = finest
    while stride > to_stride and stride % 2 == 0:
        stride //= 2
        strides.append(stride)
    if stride != to_stride:
        raise ConfigError(f"decoder '{decoder}': doubling the size from stride {finest} never gives stride {to_stride}")
    return strides


def block_channels(decoder: str, channels: Sequence[int] | None, steps: int, beyond: int, top: int) -> list[int]:
    """Channels of each block, deepest first: ``channels``, or ``top`` halved repeatedly, at least 32 (16 beyond the levels).

    Args:
        steps: number of blocks with a skip connection.
        beyond: number of blocks after them, without one.

    Raises:
        ConfigError: ``channels`` has a different length.
    """
    if channels is None:
        return [max(32 if number < steps else 16, top // 2**number) for number in range(steps + beyond)]
    if len(channels) != steps + beyond:
        expected = (
            "one for each finer level"
            if not beyond
            else f"one for each finer level and {beyond} for the strides beyond"
        )
        raise ConfigError(
            f"decoder '{decoder}': 'channels' needs {steps + beyond} numbers here, {expected}, got {len(channels)}"
        )
    return list(channels)

"""The hybrid encoder of RT-DETR."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.encoders.base import Encoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.csp import ConvNormSiLU, CSPRepLayer
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import sine_position
from vertebra.layers.positional_attention import HIDDEN, PostNormLayer
from vertebra.layers.resample import crop, upsample_like


class HybridEncoder(Encoder):
    """Hybrid encoder of RT-DETR: self-attention on the deepest level, then convolutional fusion of the last few levels,
    top-down and bottom-up.

    The encoded levels get the same number of channels; finer levels pass through. Cells that lie wholly on the padding of
    the canvas are masked out of the attention.

    Args:
        keep_levels: indices of the output levels that are read; None for all. Unread levels keep their shape; their values are
            undefined.
        levels: how many of the deepest levels are encoded; all of them if there are fewer.
        channels: channels of these levels; None: derived from the backbone, at least 128 (256 for ResNet-50).
        depth: attention layers on the deepest level.
        heads: attention heads; must divide ``channels``.
        hidden: hidden channels of each attention layer's MLP; None: four times ``channels``.
        dropout: in each attention layer.
        blocks: RepVGG blocks in each fusion of two levels.
        expansion: channels of these blocks, as a fraction of ``channels``.

    Raises:
        IncompatiblePartsError: there is no level, or strides do not divide each other.
        ConfigError: an option is out of range, or ``channels`` is not a multiple of 4 and of ``heads``.
    """

    paper: ClassVar[str] = (
        "Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024, arXiv 2304.08069 (differences: any "
        "number of levels, odd sizes, padding masked out of the attention)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        levels: int = 3,
        channels: int | None = None,
        depth: int = 1,
        heads: int = 8,
        hidden: int | None = None,
        dropout: float = 0.0,
        blocks: int = 3,
        expansion: float = 1.0,
    ) -> None:
        super().__init__(in_spec)
        part = "encoder 'hybrid'"
        check_range(part, minimum=1, levels=levels, channels=channels, heads=heads, hidden=hidden, blocks=blocks)
        check_range(part, minimum=0, depth=depth)
        check_range(part, minimum=0, maximum=1, dropout=dropout)
        check_range(part, minimum=0.05, expansion=expansion)
        self.channels = channels or default_channels(in_spec, minimum=128)
        if self.channels % heads or self.channels % 4:
            raise ConfigError(f"{part}: channels {self.channels} must be a multiple of 4 and of heads {heads}")
        total = len(in_spec.levels)
        self.first = max(0, total - levels)
        self.in_levels = tuple(range(self.first, total))
        self.strides = in_spec.strides[self.first :]
        self.ratios = [in_spec.ratio(level + 1, level) for level in self.in_levels[:-1]]
        self.project = nn.ModuleList(
            ConvNormSiLU(in_spec.channels[level], self.channels, activation=False) for level in self.in_levels
        )
        self.layers = nn.ModuleList(
            PostNormLayer(self.channels, heads, hidden or 4 * self.channels, dropout) for _ in range(depth)
        )
        self._add_fusion(blocks, expansion)
        levels_out = [Level(self.channels, stride) for stride in self.strides]
        self.out_spec = in_spec.with_levels([*in_spec.levels[: self.first], *levels_out])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _add_fusion(self, blocks: int, expansion: float) -> None:
        """Adds the fusion modules for each pair of neighboring levels, finest pair first."""

        def csp_layer() -> CSPRepLayer:
            return CSPRepLayer(2 * self.channels, self.channels, depth=blocks, expansion=expansion)

        self.lateral = nn.ModuleList(ConvNormSiLU(self.channels, self.channels) for _ in self.ratios)
        self.top_down = nn.ModuleList(csp_layer() for _ in self.ratios)
        # 3x3 kernels for ratio 2, larger kernels for larger ratios, so that no cell is skipped
        self.shrink = nn.ModuleList(
            ConvNormSiLU(self.channels, self.channels, max(3, ratio // 2 * 2 + 1), stride=ratio)
            for ratio in self.ratios
        )
        self.bottom_up = nn.ModuleList(csp_layer() for _ in self.ratios)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Drops the bottom-up modules that only unread levels need."""
        kept = [level - self.first for level in keep_levels if level >= self.first]
        if kept:
            self.shrink, self.bottom_up = self.shrink[: max(kept)], self.bottom_up[: max(kept)]

    def forward(self, features: Features) -> Features:
        """The features, with the last levels encoded and fused."""
        maps = [project(features.maps[level]) for level, project in zip(self.in_levels, self.project, strict=True)]
        maps[-1] = self._attend(maps[-1], features.frame)
        fused = self._fuse(maps)
        return features.with_maps([*features.maps[: self.first], *fused])

    def _attend(self, deepest: Tensor, frame: Frame) -> Tensor:
        """The deepest level (N, channels, h, w) after self-attention."""
        batch, _, height, width = deepest.shape
        tokens = deepest.flatten(2).transpose(1, 2)
        position = sine_position(height, width, self.channels, tokens)
        valid = valid_cells(frame, deepest, self.strides[-1]).flatten(1)
        bias = torch.where(valid, 0.0, HIDDEN).to(tokens.dtype)[:, None, None]
        for layer in self.layers:
            tokens = layer(tokens, position, bias)
        # contiguous: for a transposed map, export would specialize the width to its strides
        return tokens.transpose(1, 2).reshape(batch, self.channels, height, width).contiguous()

    def _fuse(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Fuses the levels top-down, then bottom-up."""
        fused = [maps[-1]]
        for fine in range(len(maps) - 2, -1, -1):
            fused[0] = self.lateral[fine](fused[0])
            upsampled = upsample_like(fused[0], maps[fine], self.ratios[fine])
            fused.insert(0, self.top_down[fine](torch.cat([upsampled, maps[fine]], dim=1)))
        for fine, (shrink, fusion) in enumerate(zip(self.shrink, self.bottom_up, strict=True)):
            coarse = fused[fine + 1]
            downsampled = crop(
                shrink(fused[fine]), *coarse.shape[-2:]
            )  # a no-op: states for export that the sizes are equal
            fused[fine + 1] = fusion(torch.cat([downsampled, coarse], dim=1))
        return fused

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
    """Hybrid encoder of RT-DETR: attention among the cells of the deepest level, then convolutions that mix the last few
    levels, once going down to the fine ones and once coming back up.

    The levels that it works on come out at one width; finer ones pass through. Cells that lie wholly on the canvas'
    padding are attended to by nobody.

    Args:
        keep_levels: indices of the levels that are read; None for all. The others keep their shape; their values are undefined.
        levels: how many levels it works on, the deepest ones; fewer where there are not so many.
        width: channels of these levels; None: what fits the backbone, at least 128 (256 for ResNet-50).
        depth: layers of attention on the deepest level.
        heads: attention heads; must divide the width.
        hidden: features inside each attention layer's network; None: four times the width.
        dropout: in each attention layer.
        blocks: RepVGG blocks wherever two levels meet.
        expansion: width of these blocks, in parts of the width.

    Raises:
        IncompatiblePartsError: there is no level, or strides do not divide each other.
        ConfigError: an option is out of range, or the width is no multiple of 4 and of the heads.
    """

    paper: ClassVar[str] = (
        "Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024, arXiv 2304.08069 (differences: any "
        "number of levels, sizes that halve unevenly, padding hidden from attention)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        levels: int = 3,
        width: int | None = None,
        depth: int = 1,
        heads: int = 8,
        hidden: int | None = None,
        dropout: float = 0.0,
        blocks: int = 3,
        expansion: float = 1.0,
    ) -> None:
        super().__init__(in_spec)
        part = "encoder 'hybrid'"
        check_range(part, least=1, levels=levels, width=width, heads=heads, hidden=hidden, blocks=blocks)
        check_range(part, least=0, depth=depth)
        check_range(part, least=0, most=1, dropout=dropout)
        check_range(part, least=0.05, expansion=expansion)
        self.width = width or default_channels(in_spec, least=128)
        if self.width % heads or self.width % 4:
            raise ConfigError(f"{part}: width {self.width} must be a multiple of 4 and of heads {heads}")
        total = len(in_spec.levels)
        self.first = max(0, total - levels)
        self.in_levels = tuple(range(self.first, total))
        self.strides = in_spec.strides[self.first :]
        self.ratios = [in_spec.ratio(level + 1, level) for level in self.in_levels[:-1]]
        self.project = nn.ModuleList(
            ConvNormSiLU(in_spec.channels[level], self.width, activation=False) for level in self.in_levels
        )
        self.layers = nn.ModuleList(
            PostNormLayer(self.width, heads, hidden or 4 * self.width, dropout) for _ in range(depth)
        )
        self._add_fusion(blocks, expansion)
        levels_out = [Level(self.width, stride) for stride in self.strides]
        self.out_spec = in_spec.with_levels([*in_spec.levels[: self.first], *levels_out])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _add_fusion(self, blocks: int, expansion: float) -> None:
        """Modules for each pair of neighboring levels, finest pair first."""

        def meeting() -> CSPRepLayer:
            return CSPRepLayer(2 * self.width, self.width, depth=blocks, expansion=expansion)

        self.lateral = nn.ModuleList(ConvNormSiLU(self.width, self.width) for _ in self.ratios)
        self.top_down = nn.ModuleList(meeting() for _ in self.ratios)
        # 3x3 convolutions for strides that double; wider where one step is larger, so that no cell is passed over
        self.shrink = nn.ModuleList(
            ConvNormSiLU(self.width, self.width, max(3, ratio // 2 * 2 + 1), stride=ratio) for ratio in self.ratios
        )
        self.bottom_up = nn.ModuleList(meeting() for _ in self.ratios)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Leaves out what only makes levels that are not read; these keep their shape, and their values are undefined."""
        related = [level - self.first for level in keep_levels if level >= self.first]
        if related:
            self.shrink, self.bottom_up = self.shrink[: max(related)], self.bottom_up[: max(related)]

    def forward(self, features: Features) -> Features:
        """The features with the last levels mixed, at one width."""
        maps = [project(features.maps[level]) for level, project in zip(self.in_levels, self.project, strict=True)]
        maps[-1] = self._attend(maps[-1], features.frame)
        mixed = self._fuse(maps)
        return features.with_maps([*features.maps[: self.first], *mixed])

    def _attend(self, deepest: Tensor, frame: Frame) -> Tensor:
        """The deepest level (N, width, h, w) with its cells related to each other."""
        batch, _, height, width = deepest.shape
        tokens = deepest.flatten(2).transpose(1, 2)
        position = sine_position(height, width, self.width, tokens)
        inside = valid_cells(frame, deepest, self.strides[-1]).flatten(1)
        bias = torch.where(inside, 0.0, HIDDEN).to(tokens.dtype)[:, None, None]
        for layer in self.layers:
            tokens = layer(tokens, position, bias)
        # contiguous: of a transposed map a convolution would ask how its strides divide, and so freeze the width
        return tokens.transpose(1, 2).reshape(batch, self.width, height, width).contiguous()

    def _fuse(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """From the deepest level down to the finest, and back up."""
        mixed = [maps[-1]]
        for fine in range(len(maps) - 2, -1, -1):
            mixed[0] = self.lateral[fine](mixed[0])
            above = upsample_like(mixed[0], maps[fine], self.ratios[fine])
            mixed.insert(0, self.top_down[fine](torch.cat([above, maps[fine]], dim=1)))
        for fine, (shrink, meet) in enumerate(zip(self.shrink, self.bottom_up, strict=True)):
            coarse = mixed[fine + 1]
            below = crop(shrink(mixed[fine]), *coarse.shape[-2:])  # nothing to cut; an export cannot prove that
            mixed[fine + 1] = meet(torch.cat([below, coarse], dim=1))
        return mixed

"""The encoder of Deformable DETR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vertebra.encoders.base import Encoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.geometry.points import cell_points
from vertebra.layers.default_channels import default_channels
from vertebra.layers.deformable import DeformableAttention
from vertebra.layers.norm import group_norm
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import scaled_sine_position
from vertebra.layers.positional_attention import FeedForward


class DeformableEncoder(Encoder):
    """Deformable DETR encoder: multi-scale self-attention in which each cell samples a few learned positions on every level,
    so that attention over fine maps stays cheap.

    The encoded levels get the same number of channels; finer levels pass through. Cells that lie wholly on the padding of
    the canvas count as zero.

    Args:
        levels: how many of the deepest levels are encoded; all of them if there are fewer.
        channels: channels of these levels; None: derived from the backbone, at least 128 (256 for ResNet-50).
        depth: how many layers; the paper has 6.
        heads: attention heads; must divide ``channels``.
        points: sampling points of each head on each level.
        hidden: hidden channels of each layer's MLP; None: four times ``channels``.
        dropout: in each layer.
        position: what the position encoding of a cell is that of: its "center", or its far "edge", for Mask2Former's weights.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range, or ``channels`` is not a multiple of 4 and of ``heads``.
    """

    paper: ClassVar[str] = (
        "Zhu et al., Deformable DETR: Deformable Transformers for End-to-End Object Detection, ICLR 2021, arXiv "
        "2010.04159 (differences: no extra level after the backbone's last, half the layers and no dropout by default)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        levels: int = 3,
        channels: int | None = None,
        depth: int = 3,
        heads: int = 8,
        points: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
        position: Literal["center", "edge"] = "center",
    ) -> None:
        super().__init__(in_spec)
        part = "encoder 'deformable'"
        check_range(
            part, minimum=1, levels=levels, channels=channels, depth=depth, heads=heads, points=points, hidden=hidden
        )
        check_range(part, minimum=0, maximum=1, dropout=dropout)
        self.channels = channels or default_channels(in_spec, minimum=128)
        if self.channels % heads or self.channels % 4:
            raise ConfigError(f"{part}: channels {self.channels} must be a multiple of 4 and of heads {heads}")
        self.centered = position == "center"
        total = len(in_spec.levels)
        self.first = max(0, total - levels)
        self.in_levels = tuple(range(self.first, total))
        self.strides = in_spec.strides[self.first :]
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_spec.channels[level], self.channels, 1), group_norm(self.channels))
            for level in self.in_levels
        )
        self.level_code = nn.Parameter(torch.randn(len(self.in_levels), self.channels))
        self.layers = nn.ModuleList(
            DeformableLayer(self.channels, heads, len(self.in_levels), points, hidden or 4 * self.channels, dropout)
            for _ in range(depth)
        )
        encoded = [Level(self.channels, stride) for stride in self.strides]
        self.out_spec = in_spec.with_levels([*in_spec.levels[: self.first], *encoded])

    def forward(self, features: Features) -> Features:
        """The features, with the last levels after deformable attention."""
        maps = [project(features.maps[level]) for level, project in zip(self.in_levels, self.project, strict=True)]
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps]
        valid = [valid_cells(features.frame, level, stride) for level, stride in zip(maps, self.strides, strict=True)]
        codes = [
            scaled_sine_position(mask, self.channels, maps[0], centered=self.centered) + code
            for mask, code in zip(valid, self.level_code.to(maps[0].dtype), strict=True)
        ]
        position = torch.cat(codes, dim=1)
        padding = ~torch.cat([mask.flatten(1) for mask in valid], dim=1)
        reference = reference_points(shapes, self.strides, position.device)
        cells = torch.cat([level.flatten(2) for level in maps], dim=2).transpose(1, 2)
        for layer in self.layers:
            cells = layer(cells, position, reference.expand(cells.shape[0], -1, -1, -1), shapes, padding)
        flat = torch.split(cells.transpose(1, 2), [rows * columns for rows, columns in shapes], dim=2)
        # contiguous: for a transposed map, export would specialize the width to its strides
        encoded = [
            level.reshape(level.shape[0], self.channels, *shape).contiguous()
            for level, shape in zip(flat, shapes, strict=True)
        ]
        return features.with_maps([*features.maps[: self.first], *encoded])


class DeformableLayer(nn.Module):
    """A post-norm transformer layer: deformable attention and a two-layer MLP, each with a residual connection.

    Zhu et al., Deformable DETR, ICLR 2021, arXiv 2010.04159.

    Args:
        channels: channels of a cell.
        heads: must divide ``channels``.
        levels: how many maps.
        points: sampling points of each head on each level.
        hidden: hidden channels of the MLP.
        dropout: before each residual connection, and inside the MLP.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.reading = DeformableAttention(channels, heads, levels, points)
        self.norm1 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden, nn.ReLU(), dropout)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        cells: Tensor,
        position: Tensor,
        reference: Tensor,
        shapes: Sequence[tuple[int, int]],
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Cells (N, S, channels) in and out; ``position`` is their position encoding, the rest as for `DeformableAttention`."""
        read = self.reading(cells + position, reference, cells, shapes, hidden)
        cells = self.norm1(cells + self.dropout(read))
        out: Tensor = self.norm2(cells + self.dropout(self.mlp(cells)))
        return out


def reference_points(shapes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device) -> Tensor:
    """The center of each cell, as a fraction of each level's map; all maps cover the same pixels.

    Args:
        shapes: (height, width) of each level.
        strides: of each level.

    Returns:
        (1, S, levels, 2) float32 x, y, the cells of all levels concatenated.
    """
    pixels = torch.cat(
        [cell_points(*shape, stride, device=device) for shape, stride in zip(shapes, strides, strict=True)]
    )
    fractions = [
        torch.stack([pixels[:, 0] / (columns * stride), pixels[:, 1] / (rows * stride)], dim=-1)
        for (rows, columns), stride in zip(shapes, strides, strict=True)
    ]
    return torch.stack(fractions, dim=1)[None]

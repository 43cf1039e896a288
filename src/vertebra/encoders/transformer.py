"""A transformer over the patches of the deepest level."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.encoders.base import Encoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.attention import TransformerLayer
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import sine_position

HIDDEN = -1e4  # added to the logits of padding: exp() of it is 0 in every precision, and it is no infinity


class TransformerEncoder(Encoder):
    """Transformer encoder: learns how features and image patches relate, wherever in the image they are.

    The cells of the deepest level are the patches; each attends to all others of its image. Cells that lie wholly on
    the canvas' padding are attended to by nobody. It replaces the deepest level.

    Args:
        width: features of a patch inside; None: what fits the backbone, at least 128.
        depth: how many layers.
        heads: attention heads; must divide the width.
        mlp_ratio: hidden width of each layer's network, in widths.
        dropout: in each layer.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range, or the width is no multiple of 4 and of the heads.
    """

    paper: ClassVar[str] = (
        "Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762; over an image's feature map as in "
        "Carion et al., DETR, ECCV 2020, arXiv 2005.12872 (difference: normalization before each layer)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        width: int | None = None,
        depth: int = 2,
        heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_spec)
        check_range("encoder 'transformer'", least=1, width=width, depth=depth, heads=heads)
        check_range("encoder 'transformer'", least=0, mlp_ratio=mlp_ratio)
        check_range("encoder 'transformer'", least=0, most=1, dropout=dropout)
        deepest = in_spec.levels[-1]
        self.width = width or default_channels(in_spec, least=128)
        if self.width % heads or self.width % 4:
            raise ConfigError(f"encoder 'transformer': width {self.width} must be a multiple of 4 and of heads {heads}")
        self.stride = deepest.stride
        self.project = nn.Conv2d(deepest.channels, self.width, 1)
        self.layers = nn.ModuleList(
            TransformerLayer(self.width, heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(self.width)
        self.out_spec = in_spec.with_levels([*in_spec.levels[:-1], Level(self.width, deepest.stride)])

    def forward(self, features: Features) -> Features:
        """The features with the deepest level's patches related to each other."""
        deepest = self.project(features.maps[-1])
        batch, _, height, width = deepest.shape
        tokens = deepest.flatten(2).transpose(1, 2)
        tokens = tokens + sine_position(height, width, self.width, tokens)
        bias = self._hide_padding(features.frame, deepest, tokens)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        related = self.norm(tokens).transpose(1, 2).reshape(batch, self.width, height, width)
        return features.with_maps([*features.maps[:-1], related])

    def _hide_padding(self, frame: Frame, maps: Tensor, like: Tensor) -> Tensor:
        """(N, 1, 1, height * width) to add to attention's logits: 0, and a large negative number on padding."""
        inside = valid_cells(frame, maps, self.stride).flatten(1)
        return torch.where(inside, 0.0, HIDDEN).to(like.dtype)[:, None, None]

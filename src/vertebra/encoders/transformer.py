"""A transformer over the cells of the deepest level."""

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

HIDDEN = -1e4  # added to the logits of padding: finite, and its exp() is 0 in every precision


class TransformerEncoder(Encoder):
    """Transformer encoder: self-attention over the cells of the deepest level gives each of them context from the whole image.

    The result replaces the deepest level. Cells that lie wholly on the padding of the canvas are masked out.

    Args:
        channels: channels of a token; None: derived from the backbone, at least 128.
        depth: how many layers.
        heads: attention heads; must divide ``channels``.
        mlp_ratio: hidden channels of each layer's MLP, as a multiple of ``channels``.
        dropout: in each layer.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range, or ``channels`` is not a multiple of 4 and of ``heads``.
    """

    paper: ClassVar[str] = (
        "Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762; over an image's feature map as in "
        "Carion et al., DETR, ECCV 2020, arXiv 2005.12872 (difference: normalization before each layer)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        channels: int | None = None,
        depth: int = 2,
        heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_spec)
        check_range("encoder 'transformer'", minimum=1, channels=channels, depth=depth, heads=heads)
        check_range("encoder 'transformer'", minimum=0, mlp_ratio=mlp_ratio)
        check_range("encoder 'transformer'", minimum=0, maximum=1, dropout=dropout)
        deepest = in_spec.levels[-1]
        self.channels = channels or default_channels(in_spec, minimum=128)
        if self.channels % heads or self.channels % 4:
            raise ConfigError(
                f"encoder 'transformer': channels {self.channels} must be a multiple of 4 and of heads {heads}"
            )
        self.stride = deepest.stride
        self.project = nn.Conv2d(deepest.channels, self.channels, 1)
        self.layers = nn.ModuleList(
            TransformerLayer(self.channels, heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(self.channels)
        self.out_spec = in_spec.with_levels([*in_spec.levels[:-1], Level(self.channels, deepest.stride)])

    def forward(self, features: Features) -> Features:
        """The features, with the deepest level after self-attention."""
        deepest = self.project(features.maps[-1])
        batch, _, height, width = deepest.shape
        tokens = deepest.flatten(2).transpose(1, 2)
        tokens = tokens + sine_position(height, width, self.channels, tokens)
        bias = self._padding_mask(features.frame, deepest, tokens)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        encoded = self.norm(tokens).transpose(1, 2).reshape(batch, self.channels, height, width)
        return features.with_maps([*features.maps[:-1], encoded])

    def _padding_mask(self, frame: Frame, maps: Tensor, like: Tensor) -> Tensor:
        """(N, 1, 1, height * width), an additive attention mask: 0, and a large negative number on padding."""
        valid = valid_cells(frame, maps, self.stride).flatten(1)
        return torch.where(valid, 0.0, HIDDEN).to(like.dtype)[:, None, None]

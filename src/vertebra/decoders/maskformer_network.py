"""The network of MaskFormer: queries that read the deepest level, beside a feature pyramid for the pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vertebra.decoders.mask_queries import MaskEmbedding, QueryMaskNetwork, masks_of, query_width, used_levels
from vertebra.decoders.mask_query_loss import QueryMasks
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.cross_attention import QueryLayer
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import scaled_sine_position
from vertebra.layers.resample import upsample_like


class MaskFormerNetwork(QueryMaskNetwork):
    """DETR's decoder on the deepest level, and masks as products of its queries with the pixels of a feature pyramid.

    Cheng et al., Per-Pixel Classification is Not All You Need for Semantic Segmentation, NeurIPS 2021, arXiv 2107.06278. The levels
    are those of strides 4 to 32.

    Args:
        name: of the decoder, for messages.
        in_spec: the input features.
        classes: how many classes.
        channels: of queries, cells and pixels; None: that of the levels if all have the same, or derived from the backbone.
        heads: of the attention.
        layers: how many.
        queries: how many.
        hidden: channels inside the feed-forward networks; None: eight times ``channels``.
        dropout: in each layer.
    """

    def __init__(
        self,
        name: str,
        in_spec: FeatureSpec,
        classes: int,
        *,
        channels: int | None,
        heads: int,
        layers: int,
        queries: int,
        hidden: int | None,
        dropout: float,
    ) -> None:
        super().__init__()
        check_range(name, minimum=1, channels=channels, heads=heads, layers=layers, queries=queries, hidden=hidden)
        check_range(name, minimum=0, maximum=1, dropout=dropout)
        self.in_levels = used_levels(in_spec)
        width = query_width(name, in_spec, self.in_levels, channels, heads)
        self.strides = [in_spec.strides[level] for level in self.in_levels]
        self.stride = self.strides[0]
        *finer, deepest = (in_spec.channels[level] for level in self.in_levels)
        self.stem = ConvNormAct(deepest, width, norm="group")
        self.lateral = nn.ModuleList(ConvNormAct(each, width, 1, norm="group", activation=False) for each in finer)
        self.smooth = nn.ModuleList(ConvNormAct(width, width, norm="group") for _ in finer)
        self.pixel_projection = nn.Conv2d(width, width, 3, padding=1)
        self.project = nn.Identity() if deepest == width else nn.Conv2d(deepest, width, 1)
        self.query_position = nn.Embedding(queries, width)
        self.layers = nn.ModuleList(QueryLayer(width, heads, hidden or 8 * width, dropout) for _ in range(layers))
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, classes + 1)
        self.embed = MaskEmbedding(width)

    def forward(self, features: Features, every_layer: bool = False) -> list[QueryMasks]:
        """See `QueryMaskNetwork`."""
        pixels = self._pixel_embeddings(features)
        deepest = self.project(features.maps[self.in_levels[-1]])
        inside = valid_cells(features.frame, deepest, self.strides[-1])
        position = scaled_sine_position(inside, deepest.shape[1], deepest)
        visible = inside.flatten(1)[:, None, None]
        cells = deepest.flatten(2).transpose(1, 2)
        query_position = self.query_position.weight.to(cells.dtype).expand(len(cells), -1, -1)
        queries, outputs = torch.zeros_like(query_position), []
        for number, layer in enumerate(self.layers):
            queries = layer(queries, query_position, cells, position, visible)
            if every_layer or number == len(self.layers) - 1:
                decoded = self.norm(queries)
                outputs.append(QueryMasks(self.classify(decoded), masks_of(self.embed(decoded), pixels)))
        return outputs

    def _pixel_embeddings(self, features: Features) -> Tensor:
        """(N, channels, h, w) at the stride of the masks."""
        merged = self.stem(features.maps[self.in_levels[-1]])
        for number in reversed(range(len(self.lateral))):
            fine = self.lateral[number](features.maps[self.in_levels[number]])
            ratio = self.strides[number + 1] // self.strides[number]
            merged = self.smooth[number](upsample_like(merged, fine, ratio) + fine)
        projected: Tensor = self.pixel_projection(merged)
        return projected

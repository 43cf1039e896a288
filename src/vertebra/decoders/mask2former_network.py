"""The network of Mask2Former: queries that read the cells of their masks only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.mask_queries import MaskEmbedding, QueryMaskNetwork, masks_of, query_width, used_levels
from vertebra.decoders.mask_query_loss import QueryMasks
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.cross_attention import MaskedQueryLayer
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells
from vertebra.layers.position_encoding import scaled_sine_position
from vertebra.layers.resample import upsample_like

ATTENDED = 3  # largest number of levels that queries read, the deepest ones; each layer reads one


class Mask2FormerNetwork(QueryMaskNetwork):
    """Queries read one level after the other, the coarsest first, each query only the cells inside the mask that it has so far.

    Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022, arXiv 2112.01527. The levels are
    those of strides 4 to 32: queries read the three deepest; a finer one is added to the finest of these, for the pixels that
    masks are products with.

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
        attended = self.in_levels[-min(ATTENDED, layers) :]
        width = query_width(name, in_spec, attended, channels, heads)
        self.strides = [in_spec.strides[level] for level in self.in_levels]
        self.stride = self.strides[0]
        self.project = nn.ModuleList(
            nn.Identity() if in_spec.channels[level] == width else nn.Conv2d(in_spec.channels[level], width, 1)
            for level in attended
        )
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[level], width, 1, norm="group", activation=False)
            for level in self.in_levels[: -len(attended)]
        )
        self.smooth = nn.ModuleList(ConvNormAct(width, width, norm="group") for _ in self.lateral)
        self.pixel_projection = nn.Conv2d(width, width, 1)
        self.level_code = nn.Parameter(torch.randn(len(attended), width))
        self.query_content, self.query_position = nn.Embedding(queries, width), nn.Embedding(queries, width)
        self.layers = nn.ModuleList(MaskedQueryLayer(width, heads, hidden or 8 * width, dropout) for _ in range(layers))
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, classes + 1)
        self.embed = MaskEmbedding(width)

    def forward(self, features: Features, every_layer: bool = False) -> list[QueryMasks]:
        """See `QueryMaskNetwork`; with ``every_layer`` also those of the queries before the first layer."""
        levels = self._levels(features)
        pixels = self._pixel_embeddings(features, levels)
        inside = [
            valid_cells(features.frame, level, stride)
            for level, stride in zip(levels, self.strides[-len(levels) :], strict=True)
        ]
        positions = [
            scaled_sine_position(mask, level.shape[1], level) for mask, level in zip(inside, levels, strict=True)
        ]
        cells = [
            level.flatten(2).transpose(1, 2) + code
            for level, code in zip(levels, self.level_code.to(pixels.dtype), strict=True)
        ]
        coarse = [self._coarse(pixels, level, number) for number, level in enumerate(levels)]
        queries = self.query_content.weight.to(pixels.dtype).expand(len(pixels), -1, -1)
        query_position = self.query_position.weight.to(pixels.dtype)
        outputs = []
        for number, layer in enumerate(self.layers):
            decoded = self.norm(queries)
            if every_layer:
                outputs.append(self._predict(decoded, pixels))
            level = len(levels) - 1 - number % len(levels)
            visible = self._visible(decoded, coarse[level], inside[level].flatten(1)[:, None])
            queries = layer(queries, query_position, cells[level], positions[level], visible[:, None])
        return [*outputs, self._predict(self.norm(queries), pixels)]

    def _levels(self, features: Features) -> list[Tensor]:
        """The levels that queries read, finest first."""
        maps = [features.maps[level] for level in self.in_levels[-len(self.project) :]]
        return [project(level) for project, level in zip(self.project, maps, strict=True)]

    def _pixel_embeddings(self, features: Features, levels: list[Tensor]) -> Tensor:
        """(N, channels, h, w) at the stride of the masks."""
        merged = levels[0]
        for number in reversed(range(len(self.lateral))):
            fine = self.lateral[number](features.maps[self.in_levels[number]])
            ratio = self.strides[number + 1] // self.strides[number]
            merged = self.smooth[number](fine + upsample_like(merged, fine, ratio, "bilinear"))
        projected: Tensor = self.pixel_projection(merged)
        return projected

    def _coarse(self, pixels: Tensor, level: Tensor, number: int) -> Tensor:
        """The pixels (N, channels, S) at the cells of a level, without gradient.

        The masks of their products are those of the pixels resized to the level, as both are linear.
        """
        ratio = self.strides[len(self.strides) - len(self.level_code) + number] // self.stride
        pixels = pixels.detach()
        if ratio > 1:
            beyond = [level.shape[axis] * ratio - pixels.shape[axis] for axis in (-2, -1)]
            whole = F.pad(pixels, (0, beyond[1], 0, beyond[0]))
            pixels = F.interpolate(whole, scale_factor=1 / ratio, mode="bilinear", align_corners=False)
        return pixels.flatten(2)

    def _visible(self, decoded: Tensor, coarse: Tensor, inside: Tensor) -> Tensor:
        """(N, Q, S) bool, the cells that each query reads: those of its mask, or all of the image if it has none there."""
        chosen = (torch.bmm(self.embed(decoded), coarse) >= 0) & inside
        return (chosen | ~chosen.any(dim=-1, keepdim=True)) & inside

    def _predict(self, decoded: Tensor, pixels: Tensor) -> QueryMasks:
        return QueryMasks(self.classify(decoded), masks_of(self.embed(decoded), pixels))

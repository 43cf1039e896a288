"""Layers that sample a pyramid of maps around boxes and refine the boxes layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.detect._query_selection import BoxHead, class_head, inverse_sigmoid
from vertebra.layers.deformable import DeformableAttention, Method
from vertebra.layers.positional_attention import FeedForward, PositionalAttention


class Pyramid(NamedTuple):
    """The cells of all levels, concatenated, and the part of the canvas that each level covers.

    Attributes:
        cells: (N, S, width).
        padding: (N, S) bool, cells on the canvas' padding only.
        shapes: (height, width) of each level.
        spans: (x, y) of each level: the canvas' width and height divided by those that the level's cells cover; below 1 where the
            last cells extend past the canvas.
    """

    cells: Tensor
    padding: Tensor
    shapes: list[tuple[int, int]]
    spans: list[tuple[float, float]]

    def on_levels(self, boxes: Tensor) -> Tensor:
        """Boxes (N, Q, 4) in parts of the canvas as (N, Q, levels, 4) in parts of each level's map."""
        scaled = []
        for x, y in self.spans:
            parts = boxes.unbind(dim=-1)
            scaled.append(torch.stack([parts[0] * x, parts[1] * y, parts[2] * x, parts[3] * y], dim=-1))
        return torch.stack(scaled, dim=2)


class RefiningLayer(nn.Module):
    """Self-attention of the queries, deformable attention to points around their boxes, and a feed-forward network.

    Zhu et al., Deformable DETR, ICLR 2021, arXiv 2010.04159, with normalization after each step.

    Args:
        width: features of a query and of a cell.
        heads: attention heads; must divide the width.
        hidden: hidden features of the feed-forward network.
        points: points that each head reads on each level.
        method: interpolation between a map's cells.
        offset_scale: initial distance of the points from the middle, in parts of the box.
        dropout: of each step's output before it is added.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        points: list[int],
        method: Method,
        offset_scale: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = PositionalAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.reading = DeformableAttention(width, heads, len(points), points, method=method, offset_scale=offset_scale)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden, nn.ReLU(), dropout)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, position: Tensor, reference: Tensor, pyramid: Pyramid, bias: Tensor) -> Tensor:
        """Queries (N, Q, width) in and out.

        Args:
            position: (N, Q, width), encoded position of each query's box.
            reference: (N, Q, levels, 4) each box on each level.
            pyramid: the maps.
            bias: added to the logits of self-attention.
        """
        queries = self.norm1(queries + self.dropout(self.attention(queries, position, bias)))
        read = self.reading(queries + position, reference, pyramid.cells, pyramid.shapes, pyramid.padding)
        queries = self.norm2(queries + self.dropout(read))
        out: Tensor = self.norm3(queries + self.dropout(self.mlp(queries)))
        return out


class Refinement(nn.Module):
    """Several `RefiningLayer`, each with its class head and box head.

    Args:
        layers: the layers.
        width: features of a query.
        classes: number of classes.
    """

    def __init__(self, layers: Sequence[RefiningLayer], width: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.position = nn.Sequential(nn.Linear(4, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.classify = nn.ModuleList(class_head(width, classes) for _ in layers)
        self.move = nn.ModuleList(BoxHead(width) for _ in layers)

    def forward(
        self, queries: Tensor, boxes: Tensor, pyramid: Pyramid, bias: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Class logits (N, Q, classes) and boxes (N, Q, 4) of each layer.

        The gradient of a layer's boxes also flows into the boxes of the layer before; the sampling locations are detached ("look
        forward twice", Zhang et al., DINO, ICLR 2023, arXiv 2203.03605, section 3.5).

        Args:
            queries: (N, Q, width).
            boxes: (N, Q, 4) float32 center and size in parts of the canvas.
            pyramid: the maps.
            bias: added to the logits of self-attention.
        """
        logits, layer_boxes = [], []
        reference, previous = boxes.detach(), boxes.detach()
        bias = bias.to(queries.dtype)
        for layer, classify, move in zip(self.layers, self.classify, self.move, strict=True):
            reference_input = reference.to(queries.dtype)
            queries = layer(queries, self.position(reference_input), pyramid.on_levels(reference_input), pyramid, bias)
            refined = (move(queries).float() + inverse_sigmoid(previous)).sigmoid()
            logits.append(classify(queries))
            layer_boxes.append(refined)
            previous, reference = refined, refined.detach()
        return logits, layer_boxes

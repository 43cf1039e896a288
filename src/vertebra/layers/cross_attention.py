"""Cross-attention, and transformer decoder layers that use it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.layers.positional_attention import FeedForward, PositionalAttention


class CrossAttention(nn.Module):
    """Multi-head attention of queries to cells, with positions added to queries and keys, not to values.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872.

    Args:
        width: features of a query and of a cell.
        heads: must divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(width, width)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        for layer in (self.queries, self.keys, self.values, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, queries: Tensor, position: Tensor, cells: Tensor, cell_position: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Attends from the queries to the cells.

        Args:
            queries: (N, Q, width).
            position: of the queries, broadcast against them.
            cells: (N, S, width).
            cell_position: of the cells, broadcast against them.
            attn_mask: bool, broadcast against (N, heads, Q, S); False masks a cell.

        Returns:
            (N, Q, width)
        """
        queries_by_head = self._split(self.queries(queries + position))
        keys, values = self._split(self.keys(cells + cell_position)), self._split(self.values(cells))
        mixed = F.scaled_dot_product_attention(queries_by_head, keys, values, attn_mask=attn_mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, heads, L, width / heads)"""
        batch, length, width = tokens.shape
        return tokens.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


class QueryLayer(nn.Module):
    """Self-attention of queries, cross-attention to the cells of a map, and a feed-forward network, each with a residual
    connection followed by LayerNorm (post-norm).

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872.

    Args:
        width: features of a query and of a cell.
        heads: must divide the width.
        hidden: features inside the feed-forward network.
        dropout: on the output of each step, and inside the network.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = PositionalAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.reading = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden, nn.ReLU(), dropout)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Tensor, position: Tensor, cells: Tensor, cell_position: Tensor, attn_mask: Tensor
    ) -> Tensor:
        """Queries (N, Q, width) in and out; the rest as for `CrossAttention`."""
        queries = self.norm1(queries + self.dropout(self.attention(queries, position)))
        read = self.reading(queries, position, cells, cell_position, attn_mask)
        queries = self.norm2(queries + self.dropout(read))
        out: Tensor = self.norm3(queries + self.dropout(self.mlp(queries)))
        return out


class MaskedQueryLayer(nn.Module):
    """Cross-attention of queries to some cells of a map, self-attention, and a feed-forward network, each with a residual
    connection followed by LayerNorm (post-norm).

    Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022, arXiv 2112.01527: queries read
    cells before they read each other.

    Args:
        width, heads, hidden, dropout: as for `QueryLayer`.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.reading = CrossAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.attention = PositionalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden, nn.ReLU(), dropout)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Tensor, position: Tensor, cells: Tensor, cell_position: Tensor, attn_mask: Tensor
    ) -> Tensor:
        """Queries (N, Q, width) in and out; the rest as for `CrossAttention`."""
        read = self.reading(queries, position, cells, cell_position, attn_mask)
        queries = self.norm1(queries + self.dropout(read))
        queries = self.norm2(queries + self.dropout(self.attention(queries, position)))
        out: Tensor = self.norm3(queries + self.dropout(self.mlp(queries)))
        return out

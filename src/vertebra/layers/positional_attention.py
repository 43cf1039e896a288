"""Self-attention with positions added in every layer, with post-norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = -1e4  # added to attention logits to mask: exp() of it is 0 in every precision, and it is finite


class PositionalAttention(nn.Module):
    """Multi-head self-attention with positions added to queries and keys, not to values.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872.

    Args:
        width: features of a token.
        heads: must divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys = nn.Linear(width, 2 * width)
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        for layer in (self.queries_keys, self.values, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, position: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (N, L, width) and their positions, broadcast against them.

        Args:
            bias: broadcast against (N, heads, L, L) and added to the attention logits (large negative values mask); or bool,
                where False masks.
        """
        batch, length, width = tokens.shape
        shape = (self.heads, width // self.heads)
        split = self.queries_keys(tokens + position).reshape(batch, length, 2, *shape).permute(2, 0, 3, 1, 4)
        values = self.values(tokens).reshape(batch, length, *shape).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(split[0], split[1], values, attn_mask=bias)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class FeedForward(nn.Sequential):
    """A linear layer, an activation, and a linear layer back.

    Args:
        width: features in and out.
        hidden: features between.
        activation: between the two layers.
        dropout: after the activation.
    """

    def __init__(self, width: int, hidden: int, activation: nn.Module, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(width, hidden), activation, nn.Dropout(dropout), nn.Linear(hidden, width))


class PostNormLayer(nn.Module):
    """Self-attention and a two-layer network, each with a residual connection followed by LayerNorm (post-norm).

    Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762.

    Args:
        width: features of a token.
        heads: must divide the width.
        hidden: features inside the network.
        dropout: on the output of each of the two, and inside the network.
        activation: inside the network; GELU by default.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float = 0.0, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.attention = PositionalAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden, activation or nn.GELU(), dropout)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, position: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (N, L, width) in and out; ``position`` and ``bias`` as for `PositionalAttention`."""
        related = self.norm1(tokens + self.dropout(self.attention(tokens, position, bias)))
        out: Tensor = self.norm2(related + self.dropout(self.mlp(related)))
        return out

"""Self-attention over a sequence of patches."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention. Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762.

    Args:
        width: features of a token.
        heads: must divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (N, L, width); ``bias`` (N, 1, 1, L) is added to the attention logits (large negative values mask)."""
        batch, length, width = tokens.shape
        split = self.qkv(tokens).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=bias)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer network, each with LayerNorm before it and a residual connection around it.

    Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020, arXiv 2002.04745 (pre-norm).

    Args:
        width: features of a token.
        heads: must divide the width.
        mlp_ratio: hidden width of the network, in widths.
        dropout: on the output of each of the two, and inside the network.
    """

    def __init__(self, width: int, heads: int, *, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = max(1, int(width * mlp_ratio))
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (N, L, width) in and out; ``bias`` as for `SelfAttention`."""
        related: Tensor = tokens + self.dropout(self.attention(self.norm1(tokens), bias))
        added: Tensor = self.dropout(self.mlp(self.norm2(related)))
        return related + added

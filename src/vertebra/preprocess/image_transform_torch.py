"""Preprocessing as tensor operations, for exported graphs; `vertebra.preprocess` does the same with numpy and Pillow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vertebra.preprocess.image_transform import ResizeSpec


class ImageTransforms(NamedTuple):
    """The position of images of one size on the canvas; see `vertebra.preprocess.image_transform.ImageTransform`.

    Attributes:
        original: (2,) float32, height and width of the images.
        resized: (2,) float32, of the images at the canvas' scale.
        offset: (2,) float32, top and left; negative where images are cropped.
    """

    original: Tensor
    resized: Tensor
    offset: Tensor

    @classmethod
    def of(cls, resize_spec: ResizeSpec, height: Tensor, width: Tensor) -> ImageTransforms:
        """The same as `ResizeSpec.transform`, in double precision as there.

        Args:
            resize_spec: its canvas must be the same for all images ("shortest_edge" is not).
            height, width: of the images, (1,) int64.
        """
        rows, columns = resize_spec.size
        canvas = torch.tensor([float(rows), float(columns)], dtype=torch.float64)
        original = torch.cat([height, width]).double()
        if resize_spec.mode == "resize":
            return cls(original.float(), canvas.float(), torch.zeros(2))
        fits = canvas / original
        if resize_spec.mode == "letterbox":
            resized = torch.minimum((original * fits.min()).round().clamp(min=1), canvas)
            return cls(original.float(), resized.float(), torch.zeros(2))
        resized = torch.maximum((original * (fits.max() / resize_spec.crop)).round(), canvas)
        return cls(original.float(), resized.float(), -((resized - canvas) / 2).floor().float())

    def points_to_image(self, points: Tensor) -> Tensor:
        """Points (..., 2) of x, y from canvas to image pixels; they may lie outside the image."""
        return (points - self.offset.flip(0)) * (self.original / self.resized).flip(0)

    def boxes_to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy from canvas to image pixels, clipped to the image."""
        corners = self.points_to_image(boxes.reshape(*boxes.shape[:-1], 2, 2))
        return torch.minimum(corners.clamp(min=0), self.original.flip(0)).reshape(boxes.shape)


def to_canvas(pixels: Tensor, resize_spec: ResizeSpec, fill: Tensor) -> tuple[Tensor, Tensor, ImageTransforms]:
    """Images of one size on their canvas, equal to `vertebra.preprocess.images.apply` within one gray level.

    Args:
        pixels: (N, H, W, C) uint8.
        resize_spec: how to resize; its canvas must be the same for all images.
        fill: (C, 1, 1) float32, the gray levels outside the images.

    Returns:
        Canvases (N, C, height, width) uint8, their valid pixels (N, 2) int64, and the images' positions on them.
    """
    count, height, width, channels = pixels.shape
    rows, columns = resize_spec.size
    transforms = ImageTransforms.of(resize_spec, torch.full((1,), height), torch.full((1,), width))
    down = filter_matrix(height, rows, transforms.original[0], transforms.resized[0], transforms.offset[0])
    across = filter_matrix(width, columns, transforms.original[1], transforms.resized[1], transforms.offset[1])
    squeezed = torch.matmul(down, pixels.float().reshape(count, height, width * channels))
    layers = squeezed.reshape(count, rows, width, channels).permute(0, 3, 1, 2)
    canvas = torch.matmul(layers, across.T).round().clamp(0, 255)
    valid = torch.minimum(transforms.resized + transforms.offset, torch.tensor([float(rows), float(columns)]))
    inside = (torch.arange(rows) < valid[0])[:, None] & (torch.arange(columns) < valid[1])
    sizes = valid.to(torch.int64).expand(count, 2)
    return torch.where(inside, canvas, fill).to(torch.uint8), sizes, transforms


def filter_matrix(length: int, out_length: int, original: Tensor, resized: Tensor, offset: Tensor) -> Tensor:
    """The weights of a resize along one axis: bilinear, antialiased when shrinking.

    Args:
        length: pixels of the input axis; those from ``original`` on are left out.
        out_length: pixels of the output axis.
        original, resized: () length of the image before and after the resize.
        offset: () position of the first resized pixel on the output axis.

    Returns:
        (out_length, length) float32; the rows that the image covers sum to 1.
    """
    ratio = original / resized
    pixels = torch.arange(length, device=ratio.device)
    middle = (torch.arange(out_length, device=ratio.device) - offset + 0.5) * ratio
    weights = (1 - ((pixels + 0.5)[None, :] - middle[:, None]).abs() / ratio.clamp(min=1)).clamp(min=0)
    weights = weights * (pixels < original)
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)

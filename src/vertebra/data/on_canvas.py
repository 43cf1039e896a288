"""An image on the canvas with its annotations, or yet to be decoded: what augmentation and batches work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.deferred_image import ImageLike, as_pixels
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.resample_torch import crop_resize
from vertebra.preprocess.warp import Warp

Change = Callable[[np.ndarray], np.ndarray]
"""A change of pixels (h, w, C) uint8 that moves none of them."""


@dataclass(frozen=True, eq=False)
class OnCanvas:
    """An image on the canvas, with its annotations in canvas pixels.

    Attributes:
        image: (C, height, width) uint8.
        transform: the position of the image; of the first one if it is made of several.
        annotations: by branch, as the tasks' annotation types, masks of the canvas' size.
    """

    image: Tensor
    transform: ImageTransform
    annotations: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PendingCanvas:
    """An image whose annotations are on the canvas already, and whose pixels are not.

    Attributes:
        image: the image.
        canvas_map: its map onto the canvas.
        factor: by which the image is reduced when it is decoded.
        resize_spec: of the canvas.
        transform: the position of the image.
        annotations: by branch, in canvas pixels.
        change: of the colors; None for none.
    """

    image: ImageLike
    canvas_map: CropWindow | Warp
    factor: int
    resize_spec: ResizeSpec
    transform: ImageTransform
    annotations: dict[str, Any]
    change: Change | None

    def render(self) -> OnCanvas:
        """The image on the canvas.

        Raises:
            DataError: it cannot be decoded.
        """
        fill = self.resize_spec.fill_for(self.image.shape[2])
        part = self._part(fill)
        if self.change is not None:
            part = tensor_of(self.change(np.ascontiguousarray(part.permute(1, 2, 0).numpy())))
        if isinstance(self.canvas_map, CropWindow):
            part = _oriented(part, self.canvas_map)
        return OnCanvas(_fill(part, self.resize_spec.size, fill), self.transform, self.annotations)

    def _part(self, fill: tuple[int, ...]) -> Tensor:
        """The pixels (C, h, w) that the map shows, those of a window neither turned nor mirrored."""
        window = self.canvas_map
        if isinstance(window, Warp):
            return tensor_of(window.resample(as_pixels(self.image), fill))
        image = self.image if isinstance(self.image, np.ndarray) else self.image.reduced(self.factor)
        return crop_resize(image, window.box(self.factor), window.unturned, interleaved=self.change is not None)


def tensor_of(pixels: np.ndarray) -> Tensor:
    """(h, w, C) as a view (C, h, w)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _oriented(pixels: Tensor, window: CropWindow) -> Tensor:
    """Pixels (C, h, w), turned and mirrored as a window is."""
    pixels = torch.rot90(pixels, window.turns, (1, 2)) if window.turns else pixels
    axes = [axis for axis, exchanged in ((2, window.mirror), (1, window.flip)) if exchanged]
    return torch.flip(pixels, axes) if axes else pixels


def _fill(part: Tensor, size: tuple[int, int], fill: tuple[int, ...]) -> Tensor:
    """Puts an image (C, h, w) at the top left of a canvas (C, height, width)."""
    if part.shape[1:] == size:
        return part.contiguous()
    canvas = torch.empty((part.shape[0], *size), dtype=part.dtype)
    height, width = part.shape[1:]
    canvas[:, :height, :width] = part
    fill_color = torch.tensor(fill, dtype=part.dtype)[:, None, None]
    canvas[:, height:] = fill_color
    canvas[:, :height, width:] = fill_color
    return canvas


def empty_canvas(resize_spec: ResizeSpec, channels: int) -> Tensor:
    """(C, height, width) uint8 of fill."""
    fill = torch.tensor(resize_spec.fill_for(channels), dtype=torch.uint8)[:, None, None]
    return fill.expand(-1, *resize_spec.size).clone()


def larger(first: ImageTransform, second: ImageTransform) -> ImageTransform:
    """The first image's position, with the valid pixels of both."""
    height, width = (max(sides) for sides in zip(first.size, second.size, strict=True))
    return replace(first, size=(height, width))

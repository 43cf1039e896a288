"""From an image with its annotations to the canvas: plainly for evaluation, with random changes for training.

Each image is resampled once, by torchvision's ``transforms.v2``, from the window of it that comes onto the canvas; what its
annotations become there each task tells itself (`vertebra.tasks.data`). Colors are changed by one linear map for each
image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from vertebra.data.color_jitter import color_map
from vertebra.errors import UnknownName
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import apply
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class Augment:
    """Random changes of training images. Each is the same for an image and its boxes and masks.

    Attributes:
        mirror: probability of left and right changing places, where the labels allow it.
        flip: probability of top and bottom changing places (for images without an up: microscopy, aerial).
        zoom: smallest and largest factor on the plan's own scale, where there are boxes or masks; what no longer fits
            on the canvas is cut off at random.
        stretch: largest factor between the two axes' scales, where there are boxes or masks.
        area: smallest and largest part of the image that is shown, for images that have only a class.
        ratio: largest factor by which that part's shape differs from the whole image's.
        brightness, contrast, saturation: largest change of each, as a part of 1.
        hue: largest turn of the hue, as a part of a full turn.
    """

    mirror: float = 0.5
    flip: float = 0.0
    zoom: tuple[float, float] = (0.6, 1.5)
    stretch: float = 1.15
    area: tuple[float, float] = (0.35, 1.0)
    ratio: float = 4 / 3
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02

    @classmethod
    def preset(cls, name: str) -> Augment:
        """The changes of a name: "none", "light", "default" or "strong".

        Raises:
            UnknownName: with the nearest names.
        """
        if name not in PRESETS:
            raise UnknownName("augmentation", name, PRESETS)
        return PRESETS[name]

    @property
    def moves(self) -> bool:
        """Whether anything but colors changes."""
        still = Augment(0.0, 0.0, (1.0, 1.0), 1.0, (1.0, 1.0), 1.0)
        names = ("mirror", "flip", "zoom", "stretch", "area", "ratio")
        return any(getattr(self, name) != getattr(still, name) for name in names)


PRESETS = {
    "none": Augment(0.0, 0.0, (1.0, 1.0), 1.0, (1.0, 1.0), 1.0, 0.0, 0.0, 0.0, 0.0),
    "light": Augment(0.5, 0.0, (0.8, 1.25), 1.05, (0.6, 1.0), 1.15, 0.1, 0.1, 0.1, 0.0),
    "default": Augment(),
    "strong": Augment(0.5, 0.0, (0.3, 2.0), 1.3, (0.2, 1.0), 4 / 3, 0.4, 0.4, 0.4, 0.05),
}


@dataclass(frozen=True, eq=False)
class OnCanvas:
    """An image on the canvas, with its annotations in canvas pixels.

    Attributes:
        image: (C, height, width) uint8.
        transform: where the image lies.
        annotations: by branch, as the tasks' annotation types, masks of the canvas' size.
    """

    image: Tensor
    transform: ImageTransform
    annotations: dict[str, Any] = field(default_factory=dict)


def place(
    image: np.ndarray, annotations: Mapping[str, Any], resize_spec: ResizeSpec, labels: Mapping[str, LabelSpec]
) -> OnCanvas:
    """An image and its annotations on the canvas as prediction places them, without any random change.

    Args:
        image: (H, W, C) uint8.
        annotations: by branch, in image pixels.
        labels: by branch, what they mean.
    """
    transform = resize_spec.place(image.shape[0], image.shape[1])
    placed = {
        name: task_of(annotation).data.place(annotation, resize_spec, transform, labels.get(name))
        for name, annotation in annotations.items()
    }
    canvas = torch.from_numpy(np.ascontiguousarray(apply(resize_spec, image).transpose(2, 0, 1)))
    return OnCanvas(canvas, transform, placed)


def augment_onto(
    image: np.ndarray,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """An image and its annotations on the canvas, with random changes; see `place` for the arguments.

    An image is not mirrored if it has annotations of a branch whose labels forbid it (points whose pairs are not known).

    Args:
        draw: the source of all random draws.
    """
    if augment.moves:
        size = (image.shape[0], image.shape[1])
        whole_image = all(task_of(annotation).data.whole_image for annotation in annotations.values())
        window = (crop_window if whole_image else zoom_window)(resize_spec, size, augment, draw)
        mirror, flip = draw.random() < augment.mirror, draw.random() < augment.flip
        if mirror_refusals({name: labels[name] for name in annotations if name in labels}):
            mirror = flip  # no mirror image of any kind: upside down becomes half a turn, in which left stays left
        found = cut(image, annotations, resize_spec, labels, replace(window, mirror=mirror, flip=flip))
    else:
        found = place(image, annotations, resize_spec, labels)
    height, width = found.transform.size
    part = found.image[:, :height, :width]
    change = color_map(part, draw, augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if change is not None:
        found.image[:, :height, :width] = change(part)
    return found


def mirror_refusals(labels: Mapping[str, LabelSpec]) -> dict[str, str]:
    """By branch, why images that are labeled for it must not be mirrored; without the branches for which they may."""
    reasons = {name: own.mirror_refusal for name, own in labels.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def zoom_window(
    resize_spec: ResizeSpec, size: tuple[int, int], augment: Augment, draw: np.random.Generator
) -> CropWindow:
    """The image larger or smaller than the plan has it, and stretched; a random part where it outgrows the canvas."""
    transform = resize_spec.place(*size)
    zoom = math.exp(draw.uniform(*np.log(augment.zoom)))
    stretch = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.stretch) / 2)
    top, height, rows = _axis(size[0], resize_spec.size[0], transform.scale_y * zoom * stretch, draw.random())
    left, width, columns = _axis(size[1], resize_spec.size[1], transform.scale_x * zoom / stretch, draw.random())
    return CropWindow(top, left, height, width, (rows, columns))


def _axis(length: int, canvas: int, scale: float, where: float) -> tuple[int, int, int]:
    """Start and extent of the window along one axis, and its extent on the canvas."""
    if round(length * scale) <= canvas:
        return 0, length, max(1, round(length * scale))
    extent = min(length, max(1, round(canvas / scale)))
    return int(where * (length - extent + 1)), extent, canvas


def crop_window(
    resize_spec: ResizeSpec, size: tuple[int, int], augment: Augment, draw: np.random.Generator
) -> CropWindow:
    """A random part of the image, of random area and shape, in the place of the whole.

    Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842; differences: the shape varies around
    that of the image, or of the canvas where a center crop is planned, so that non-square canvases are not distorted.
    """
    height, width = size
    area = draw.uniform(*augment.area)
    ratio = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.ratio) / 2)
    base_height, base_width = float(height), float(width)
    if resize_spec.mode == "center_crop":
        shape = resize_spec.size[0] / resize_spec.size[1]
        base_height, base_width = math.sqrt(height * width * shape), math.sqrt(height * width / shape)
    rows = min(height, max(1, round(base_height * math.sqrt(area) * ratio)))
    columns = min(width, max(1, round(base_width * math.sqrt(area) / ratio)))
    top, left = int(draw.random() * (height - rows + 1)), int(draw.random() * (width - columns + 1))
    return CropWindow(top, left, rows, columns, resize_spec.place(height, width).size)


def cut(
    image: np.ndarray,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    window: CropWindow,
) -> OnCanvas:
    """A window of an image and its annotations on the canvas, mirrored or not; see `place` for the other arguments."""
    pixels = F.resized_crop(
        torch.from_numpy(image).permute(2, 0, 1),
        window.top,
        window.left,
        window.height,
        window.width,
        list(window.out),
        InterpolationMode.BILINEAR,
        antialias=True,
    )
    pixels = F.horizontal_flip(pixels) if window.mirror else pixels
    pixels = F.vertical_flip(pixels) if window.flip else pixels
    canvas = _fill(pixels, resize_spec.size, resize_spec.fill_for(image.shape[2]))
    placed = {
        name: task_of(annotation).data.cut(annotation, window, resize_spec, labels.get(name))
        for name, annotation in annotations.items()
    }
    return OnCanvas(canvas, window.transform(resize_spec, (image.shape[0], image.shape[1])), placed)


def _fill(part: Tensor, size: tuple[int, int], fill: tuple[int, ...]) -> Tensor:
    """A part (C, h, w) at the top left of a canvas (C, height, width)."""
    canvas = torch.empty((part.shape[0], *size), dtype=part.dtype)
    height, width = part.shape[1:]
    canvas[:, :height, :width] = part
    beside = torch.tensor(fill, dtype=part.dtype)[:, None, None]
    canvas[:, height:] = beside
    canvas[:, :height, width:] = beside
    return canvas

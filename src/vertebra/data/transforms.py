"""Transforms images with their annotations onto the canvas: without changes for evaluation, augmented for training.

Each image is resampled once, by torchvision's ``transforms.v2``, from its crop window; each task transforms its own
annotations (`vertebra.tasks.data`). Colors are changed by one linear map for each image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from vertebra.data.color_jitter import color_map
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.deferred_image import DeferredImage, ImageLike, as_pixels
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import apply
from vertebra.preprocess.resample_torch import crop_resize
from vertebra.recipe.augment import Augment
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True, eq=False)
class OnCanvas:
    """An image on the canvas, with its annotations in canvas pixels.

    Attributes:
        image: (C, height, width) uint8.
        transform: the position of the image.
        annotations: by branch, as the tasks' annotation types, masks of the canvas' size.
    """

    image: Tensor
    transform: ImageTransform
    annotations: dict[str, Any] = field(default_factory=dict)


def to_canvas(
    image: np.ndarray, annotations: Mapping[str, Any], resize_spec: ResizeSpec, labels: Mapping[str, LabelSpec]
) -> OnCanvas:
    """An image and its annotations on the canvas, as in prediction, without augmentation.

    Args:
        image: (H, W, C) uint8.
        annotations: by branch, in image pixels.
        labels: by branch, the label specification.
    """
    transform = resize_spec.transform(image.shape[0], image.shape[1])
    on_canvas_annotations = {
        name: task_of(annotation).data.to_canvas(annotation, resize_spec, transform, labels.get(name))
        for name, annotation in annotations.items()
    }
    canvas = torch.from_numpy(np.ascontiguousarray(apply(resize_spec, image).transpose(2, 0, 1)))
    return OnCanvas(canvas, transform, on_canvas_annotations)


def augment_onto(
    image: ImageLike,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """An augmented image and its annotations on the canvas; see `to_canvas` for the arguments.

    An image is not mirrored if it has annotations of a branch whose labels forbid it (points with unknown pairs).

    Args:
        draw: the random generator.
    """
    if augment.moves:
        size = (image.shape[0], image.shape[1])
        whole_image = all(task_of(annotation).data.whole_image for annotation in annotations.values())
        window = (crop_window if whole_image else zoom_window)(resize_spec, size, augment, draw)
        mirror, flip = draw.random() < augment.horizontal_flip, draw.random() < augment.vertical_flip
        if mirror_refusals({name: labels[name] for name in annotations if name in labels}):
            mirror = (
                flip  # never mirrored: a vertical flip becomes a rotation by 180 degrees, which keeps left and right
            )
        on_canvas = cut(image, annotations, resize_spec, labels, replace(window, mirror=mirror, flip=flip))
    else:
        on_canvas = to_canvas(as_pixels(image), annotations, resize_spec, labels)
    color_options = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if any(color_options):
        height, width = on_canvas.transform.size
        pixels = on_canvas.image[:, :height, :width]
        on_canvas.image[:, :height, :width] = color_map(pixels, draw, *color_options)(pixels)
    return on_canvas


def mirror_refusals(labels: Mapping[str, LabelSpec]) -> dict[str, str]:
    """By branch, why images with its labels must not be mirrored; branches that allow mirroring are left out."""
    reasons = {name: spec.mirror_refusal for name, spec in labels.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def zoom_window(
    resize_spec: ResizeSpec, size: tuple[int, int], augment: Augment, draw: np.random.Generator
) -> CropWindow:
    """A window for random zoom and stretch of the image; a random crop if it becomes larger than the canvas."""
    transform = resize_spec.transform(*size)
    zoom = math.exp(draw.uniform(*np.log(augment.scale)))
    stretch = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.stretch) / 2)
    top, height, rows = _axis(size[0], resize_spec.size[0], transform.scale_y * zoom * stretch, draw.random())
    left, width, columns = _axis(size[1], resize_spec.size[1], transform.scale_x * zoom / stretch, draw.random())
    return CropWindow(top, left, height, width, (rows, columns))


def _axis(length: int, canvas: int, scale: float, position: float) -> tuple[int, int, int]:
    """Start and length of the window along one axis, and its length on the canvas; ``position`` 0..1 chooses the start."""
    if round(length * scale) <= canvas:
        return 0, length, max(1, round(length * scale))
    extent = min(length, max(1, round(canvas / scale)))
    return int(position * (length - extent + 1)), extent, canvas


def crop_window(
    resize_spec: ResizeSpec, size: tuple[int, int], augment: Augment, draw: np.random.Generator
) -> CropWindow:
    """A random crop of random area and aspect ratio.

    Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842; differences: the aspect ratio varies around that
    of the image, or of the canvas for a center crop, so non-square canvases are not distorted.
    """
    height, width = size
    area = draw.uniform(*augment.crop_area)
    ratio = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.crop_ratio) / 2)
    base_height, base_width = float(height), float(width)
    if resize_spec.mode == "center_crop":
        shape = resize_spec.size[0] / resize_spec.size[1]
        base_height, base_width = math.sqrt(height * width * shape), math.sqrt(height * width / shape)
    rows = min(height, max(1, round(base_height * math.sqrt(area) * ratio)))
    columns = min(width, max(1, round(base_width * math.sqrt(area) / ratio)))
    top, left = int(draw.random() * (height - rows + 1)), int(draw.random() * (width - columns + 1))
    return CropWindow(top, left, rows, columns, resize_spec.transform(height, width).size)


def cut(
    image: ImageLike,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    window: CropWindow,
) -> OnCanvas:
    """A crop window of an image and its annotations on the canvas; see `to_canvas` for the other arguments."""
    window, factor = image.window(window) if isinstance(image, DeferredImage) else (window, 1)
    pixels = crop_resize(
        image.reduced(factor) if isinstance(image, DeferredImage) else image, window.box(factor), window.out
    )
    pixels = F.horizontal_flip(pixels) if window.mirror else pixels
    pixels = F.vertical_flip(pixels) if window.flip else pixels
    canvas = _fill(pixels, resize_spec.size, resize_spec.fill_for(image.shape[2]))
    on_canvas_annotations = {
        name: task_of(annotation).data.cut(annotation, window, resize_spec, labels.get(name))
        for name, annotation in annotations.items()
    }
    return OnCanvas(canvas, window.transform(resize_spec, (image.shape[0], image.shape[1])), on_canvas_annotations)


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

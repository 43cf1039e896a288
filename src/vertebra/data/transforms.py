"""Transforms images with their annotations onto the canvas: without changes for evaluation, augmented for training.

Each image is resampled once: by torch from its crop window, or by Pillow where it is rotated freely
or in perspective; each task transforms its own annotations (`vertebra.tasks.data`). Colors are changed by one linear map for
each image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vertebra.data.augmentation.camera import degraded
from vertebra.data.augmentation.colors import changed_colors
from vertebra.data.augmentation.crop_windows import crop_window, turned_window, zoom_window
from vertebra.data.augmentation.iou_crop import iou_window
from vertebra.data.augmentation.random_warp import random_warp
from vertebra.data.on_canvas import OnCanvas
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.deferred_image import DeferredImage, ImageLike, as_pixels
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply
from vertebra.preprocess.resample_torch import crop_resize
from vertebra.preprocess.warp import Warp
from vertebra.recipe.augment import Augment
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec

Change = Callable[[np.ndarray], np.ndarray]
"""A change of pixels (h, w, C) uint8 that moves none of them."""

EMPTY = np.zeros((0, 4), dtype=np.float32)


def to_canvas(
    image: np.ndarray,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    change: Change | None = None,
) -> OnCanvas:
    """An image and its annotations on the canvas, as in prediction, without augmentation.

    Args:
        image: (H, W, C) uint8.
        annotations: by branch, in image pixels.
        labels: by branch, the label specification.
        change: of the colors.
    """
    transform = resize_spec.transform(image.shape[0], image.shape[1])
    on_canvas_annotations = {
        name: task_of(annotation).data.to_canvas(annotation, resize_spec, transform, labels.get(name))
        for name, annotation in annotations.items()
    }
    pixels = apply(resize_spec, image)
    if change is not None and transform.size == transform.canvas:
        pixels = change(pixels)
    elif change is not None:
        height, width = transform.size
        pixels[:height, :width] = change(np.ascontiguousarray(pixels[:height, :width]))
    return OnCanvas(_tensor(pixels).contiguous(), transform, on_canvas_annotations)


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
    canvas_map = random_map(image, annotations, resize_spec, labels, augment, draw) if augment.moves else None
    change = partial(_recolored, augment=augment, draw=draw) if augment.recolors else None
    if canvas_map is None:
        return to_canvas(as_pixels(image), annotations, resize_spec, labels, change)
    return cut(image, annotations, resize_spec, labels, canvas_map, change)


def _recolored(pixels: np.ndarray, augment: Augment, draw: np.random.Generator) -> np.ndarray:
    return degraded(changed_colors(pixels, augment, draw), augment, draw)


def random_map(
    image: ImageLike,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> CropWindow | Warp:
    """The random map of an image onto the canvas; see `augment_onto` for the arguments. It draws only for what is switched on."""
    height, width = image.shape[:2]
    tasks = {name: task_of(annotation).data for name, annotation in annotations.items()}
    turns = 0
    if augment.quarter_turn and draw.random() < augment.quarter_turn:
        turns = int(draw.integers(1, 4))
    boxes = EMPTY
    if augment.iou_crop:
        boxes = np.concatenate([EMPTY, *(task.object_boxes(annotations[name]) for name, task in tasks.items())])
    if len(boxes) and draw.random() < augment.iou_crop:
        window = replace(iou_window(resize_spec, (height, width), boxes, turns % 2 == 1, draw), turns=turns)
    else:
        draw_window = crop_window if all(task.whole_image for task in tasks.values()) else zoom_window
        size = (width, height) if turns % 2 else (height, width)
        window = turned_window(draw_window(resize_spec, size, augment, draw), turns)
    mirror, flip = draw.random() < augment.horizontal_flip, draw.random() < augment.vertical_flip
    if mirror_refusals({name: labels[name] for name in annotations if name in labels}):
        mirror = flip  # never mirrored: a vertical flip becomes a rotation by 180 degrees, which keeps left and right
    if mirror or flip:
        window = replace(window, mirror=mirror, flip=flip)
    if augment.rotate or augment.perspective:
        return random_warp(window, (height, width), augment, draw)
    return window


def mirror_refusals(labels: Mapping[str, LabelSpec]) -> dict[str, str]:
    """By branch, why images with its labels must not be mirrored; branches that allow mirroring are left out."""
    reasons = {name: spec.mirror_refusal for name, spec in labels.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def cut(
    image: ImageLike,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    canvas_map: CropWindow | Warp,
    change: Change | None = None,
) -> OnCanvas:
    """A part of an image and its annotations on the canvas; see `to_canvas` for the other arguments.

    Args:
        canvas_map: the part, and how it is turned and mirrored.
        change: of the colors.
    """
    fill = resize_spec.fill_for(image.shape[2])
    if isinstance(canvas_map, Warp):
        pixels = _tensor(canvas_map.resample(as_pixels(image), fill))
    else:
        pixels, canvas_map = _resized_crop(image, canvas_map, interleaved=change is not None)
    if change is not None:
        pixels = _tensor(change(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())))
    oriented = pixels if isinstance(canvas_map, Warp) else _oriented(pixels, canvas_map)
    on_canvas_annotations = {
        name: task_of(annotation).data.cut(annotation, canvas_map, resize_spec, labels.get(name))
        for name, annotation in annotations.items()
    }
    transform = canvas_map.transform(resize_spec, (image.shape[0], image.shape[1]))
    return OnCanvas(_fill(oriented, resize_spec.size, fill), transform, on_canvas_annotations)


def _tensor(pixels: np.ndarray) -> Tensor:
    """(h, w, C) as a view (C, h, w)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _resized_crop(image: ImageLike, window: CropWindow, *, interleaved: bool) -> tuple[Tensor, CropWindow]:
    """The pixels (C, h, w) of a window, neither turned nor mirrored, and the window that they are of."""
    factor = 1
    if isinstance(image, DeferredImage):
        window, factor = image.window(window)
        image = image.reduced(factor)
    return crop_resize(image, window.box(factor), window.unturned, interleaved=interleaved), window


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

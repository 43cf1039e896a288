"""Transforms images with their annotations onto the canvas: without changes for evaluation, augmented for training.

Each image is resampled once: by torch from its crop window, or by Pillow where it is rotated freely
or in perspective; each task transforms its own annotations (`vertebra.tasks.data`). Colors are changed by one linear map for
each image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from vertebra.data.augmentation.camera import degraded
from vertebra.data.augmentation.colors import changed_colors
from vertebra.data.augmentation.crop_windows import crop_window, turned_window, zoom_window
from vertebra.data.augmentation.iou_crop import iou_window
from vertebra.data.augmentation.random_warp import random_warp
from vertebra.data.on_canvas import Change, OnCanvas, PendingCanvas
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.deferred_image import ImageLike
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply
from vertebra.preprocess.warp import Warp
from vertebra.recipe.augment import Augment
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec

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
    return OnCanvas(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), transform, on_canvas_annotations)


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
        return augmented(image, annotations, resize_spec, labels, augment, draw).render()
    pixels = image if isinstance(image, np.ndarray) else image.decoded()
    return to_canvas(pixels, annotations, resize_spec, labels, _color_change(augment, draw))


def augmented(
    image: ImageLike,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> PendingCanvas:
    """As `augment_onto`, with pixels that are decoded later; for an augmentation that moves the image."""
    canvas_map = random_map(image, annotations, resize_spec, labels, augment, draw)
    return pending_cut(image, annotations, resize_spec, labels, canvas_map, _color_change(augment, draw))


def _color_change(augment: Augment, draw: np.random.Generator) -> Change | None:
    return partial(_recolored, augment=augment, draw=draw) if augment.recolors else None


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
    """A part of an image and its annotations on the canvas; see `pending_cut` for the arguments."""
    return pending_cut(image, annotations, resize_spec, labels, canvas_map, change).render()


def pending_cut(
    image: ImageLike,
    annotations: Mapping[str, Any],
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    canvas_map: CropWindow | Warp,
    change: Change | None = None,
) -> PendingCanvas:
    """A part of an image and its annotations on the canvas, with pixels that are decoded later; see `to_canvas` for the other
    arguments.

    Args:
        canvas_map: the part, and how it is turned and mirrored.
        change: of the colors.
    """
    factor = 1
    if isinstance(canvas_map, CropWindow) and not isinstance(image, np.ndarray):
        canvas_map, factor = image.window(canvas_map)
    on_canvas_annotations = {
        name: task_of(annotation).data.cut(annotation, canvas_map, resize_spec, labels.get(name))
        for name, annotation in annotations.items()
    }
    transform = canvas_map.transform(resize_spec, (image.shape[0], image.shape[1]))
    return PendingCanvas(image, canvas_map, factor, resize_spec, transform, on_canvas_annotations, change)

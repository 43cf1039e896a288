"""From an image with its annotations to the canvas: plainly for evaluation, with random changes for training.

The geometry is torchvision's ``transforms.v2`` on an image and its boxes and masks together; each image is resampled
once, from the window of it that comes onto the canvas. Colours are changed by one linear map for each image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from vertebra.data.colours import colour_map
from vertebra.errors import UnknownName
from vertebra.preprocess.images import apply, apply_labels
from vertebra.preprocess.plan import Placement, Plan
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.segment.annotation import SegmentAnnotation

SEEN = 0.25
LARGE = 16.0


@dataclass(frozen=True)
class Augment:
    """Random changes of training images. Each is the same for an image and its boxes and masks.

    Attributes:
        mirror: probability of left and right changing places.
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
        """Whether anything but colours changes."""
        still = Augment(0.0, 0.0, (1.0, 1.0), 1.0, (1.0, 1.0), 1.0)
        names = ("mirror", "flip", "zoom", "stretch", "area", "ratio")
        return any(getattr(self, name) != getattr(still, name) for name in names)


PRESETS = {
    "none": Augment(0.0, 0.0, (1.0, 1.0), 1.0, (1.0, 1.0), 1.0, 0.0, 0.0, 0.0, 0.0),
    "light": Augment(0.5, 0.0, (0.8, 1.25), 1.05, (0.6, 1.0), 1.15, 0.1, 0.1, 0.1, 0.0),
    "default": Augment(),
    "strong": Augment(0.5, 0.0, (0.3, 2.0), 1.3, (0.2, 1.0), 4 / 3, 0.4, 0.4, 0.4, 0.05),
}


@dataclass(frozen=True)
class Window:
    """The part of an image that comes onto the canvas, and how large it is there.

    Attributes:
        top, left, height, width: the part, in whole image pixels.
        out: (height, width) on the canvas, at its top left.
    """

    top: int
    left: int
    height: int
    width: int
    out: tuple[int, int]

    def placement(self, plan: Plan, original: tuple[int, int]) -> Placement:
        """The map from the image to the canvas, before any mirroring."""
        scale_y, scale_x = self.out[0] / self.height, self.out[1] / self.width
        top, left = round(-self.top * scale_y), round(-self.left * scale_x)
        return Placement(plan.size, original, scale_y, scale_x, top, left, self.out)


@dataclass(frozen=True, eq=False)
class OnCanvas:
    """An image on the canvas, with its annotations in canvas pixels.

    Attributes:
        image: (C, height, width) uint8.
        placement: where the image lies.
        annotations: by branch, as the tasks' annotation types, masks of the canvas' size.
    """

    image: Tensor
    placement: Placement
    annotations: dict[str, Any] = field(default_factory=dict)


def place(image: np.ndarray, annotations: Mapping[str, Any], plan: Plan, ignore: Mapping[str, int]) -> OnCanvas:
    """An image and its annotations on the canvas as prediction places them, without any random change.

    Args:
        image: (H, W, C) uint8.
        annotations: by branch, in image pixels.
        ignore: by segment branch, what mask pixels beside the image hold.
    """
    placement = plan.place(image.shape[0], image.shape[1])
    placed: dict[str, Any] = {}
    for name, annotation in annotations.items():
        if isinstance(annotation, DetectAnnotation):
            boxes = placement.boxes_to_canvas(annotation.boxes)
            placed[name] = _visible(annotation, torch.from_numpy(boxes), placement.size)
        elif isinstance(annotation, SegmentAnnotation):
            placed[name] = SegmentAnnotation(apply_labels(plan, annotation.mask, ignore[name]))
        else:
            placed[name] = annotation
    canvas = torch.from_numpy(np.ascontiguousarray(apply(plan, image).transpose(2, 0, 1)))
    return OnCanvas(canvas, placement, placed)


def augment_onto(
    image: np.ndarray,
    annotations: Mapping[str, Any],
    plan: Plan,
    ignore: Mapping[str, int],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """An image and its annotations on the canvas, with random changes; see `place` for the arguments.

    Args:
        draw: the source of all random draws.
    """
    if augment.moves:
        size = (image.shape[0], image.shape[1])
        only_class = all(isinstance(annotation, ClassifyAnnotation) for annotation in annotations.values())
        window = (crop_window if only_class else zoom_window)(plan, size, augment, draw)
        mirror, flip = draw.random() < augment.mirror, draw.random() < augment.flip
        found = cut(image, annotations, plan, ignore, window, mirror, flip)
    else:
        found = place(image, annotations, plan, ignore)
    height, width = found.placement.size
    part = found.image[:, :height, :width]
    change = colour_map(part, draw, augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if change is not None:
        found.image[:, :height, :width] = change(part)
    return found


def zoom_window(plan: Plan, size: tuple[int, int], augment: Augment, draw: np.random.Generator) -> Window:
    """The image larger or smaller than the plan has it, and stretched; a random part where it outgrows the canvas."""
    placement = plan.place(*size)
    zoom = math.exp(draw.uniform(*np.log(augment.zoom)))
    stretch = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.stretch) / 2)
    top, height, rows = _axis(size[0], plan.size[0], placement.scale_y * zoom * stretch, draw.random())
    left, width, columns = _axis(size[1], plan.size[1], placement.scale_x * zoom / stretch, draw.random())
    return Window(top, left, height, width, (rows, columns))


def _axis(length: int, canvas: int, scale: float, where: float) -> tuple[int, int, int]:
    """Start and extent of the window along one axis, and its extent on the canvas."""
    if round(length * scale) <= canvas:
        return 0, length, max(1, round(length * scale))
    extent = min(length, max(1, round(canvas / scale)))
    return int(where * (length - extent + 1)), extent, canvas


def crop_window(plan: Plan, size: tuple[int, int], augment: Augment, draw: np.random.Generator) -> Window:
    """A random part of the image, of random area and shape, in the place of the whole.

    Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842; differences: the shape varies around
    that of the image, or of the canvas where a centre crop is planned, so that non-square canvases are not distorted.
    """
    height, width = size
    area = draw.uniform(*augment.area)
    ratio = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.ratio) / 2)
    base_height, base_width = float(height), float(width)
    if plan.mode == "centre_crop":
        shape = plan.size[0] / plan.size[1]
        base_height, base_width = math.sqrt(height * width * shape), math.sqrt(height * width / shape)
    rows = min(height, max(1, round(base_height * math.sqrt(area) * ratio)))
    columns = min(width, max(1, round(base_width * math.sqrt(area) / ratio)))
    top, left = int(draw.random() * (height - rows + 1)), int(draw.random() * (width - columns + 1))
    return Window(top, left, rows, columns, plan.place(height, width).size)


def cut(
    image: np.ndarray,
    annotations: Mapping[str, Any],
    plan: Plan,
    ignore: Mapping[str, int],
    window: Window,
    mirror: bool,
    flip: bool,
) -> OnCanvas:
    """A window of an image and its annotations on the canvas, mirrored or not; see `place` for the other arguments."""

    def moved(thing: Tensor, interpolation: InterpolationMode) -> Tensor:
        thing = F.resized_crop(
            thing, window.top, window.left, window.height, window.width, list(window.out), interpolation, antialias=True
        )
        thing = F.horizontal_flip(thing) if mirror else thing
        return F.vertical_flip(thing) if flip else thing

    size = (image.shape[0], image.shape[1])
    pixels = moved(tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), InterpolationMode.BILINEAR)
    canvas = _fill(pixels.as_subclass(torch.Tensor), plan.size, plan.fill_for(image.shape[2]))
    placed: dict[str, Any] = {}
    for name, annotation in annotations.items():
        if isinstance(annotation, DetectAnnotation):
            boxes = tv_tensors.BoundingBoxes(torch.from_numpy(annotation.boxes), format="XYXY", canvas_size=size)
            corners = moved(boxes, InterpolationMode.BILINEAR).as_subclass(torch.Tensor)
            scale = window.out[0] * window.out[1] / (window.height * window.width)
            placed[name] = _visible(annotation, corners, window.out, scale)
        elif isinstance(annotation, SegmentAnnotation):
            layers = torch.from_numpy(annotation.mask).reshape(-1, *size)
            # nearest-exact: v2's own mask kernel shifts masks by up to half a pixel against the image
            layers = _fill(moved(layers, InterpolationMode.NEAREST_EXACT), plan.size, (ignore[name],) * len(layers))
            placed[name] = SegmentAnnotation(layers.reshape(*annotation.mask.shape[:-2], *plan.size).numpy())
        else:
            placed[name] = annotation
    return OnCanvas(canvas, window.placement(plan, size), placed)


def _fill(part: Tensor, size: tuple[int, int], fill: tuple[int, ...]) -> Tensor:
    """A part (C, h, w) at the top left of a canvas (C, height, width)."""
    canvas = torch.empty((part.shape[0], *size), dtype=part.dtype)
    height, width = part.shape[1:]
    canvas[:, :height, :width] = part
    beside = torch.tensor(fill, dtype=part.dtype)[:, None, None]
    canvas[:, height:] = beside
    canvas[:, :height, width:] = beside
    return canvas


def _visible(
    annotation: DetectAnnotation, boxes: Tensor, size: tuple[int, int], scale: float | None = None
) -> DetectAnnotation:
    """Boxes clipped to the valid pixels, without those of which too little is left.

    A box is left out when less than a pixel of it remains in a direction, or less than ``SEEN`` of its area while its
    short side is under ``LARGE`` pixels.

    Args:
        boxes: (M, 4) xyxy in canvas pixels.
        size: (height, width) of the valid pixels.
        scale: canvas pixels per image pixel, as areas; None where nothing is cut off.
    """
    limit = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    clipped = np.clip(boxes.numpy(), 0, limit)
    sides = clipped[:, 2:] - clipped[:, :2]
    short = sides.min(axis=1, initial=np.inf)
    kept = short > 0
    if scale is not None:
        whole = scale * (annotation.boxes[:, 2:] - annotation.boxes[:, :2]).prod(axis=1)
        kept = (short >= 1) & ((sides.prod(axis=1) >= SEEN * whole) | (short >= LARGE))
    return DetectAnnotation(clipped[kept], annotation.labels[kept], annotation.crowd[kept])

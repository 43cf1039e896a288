"""A rectangle of another image."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vertebra.data.on_canvas import OnCanvas
from vertebra.recipe.augment import Augment
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.mixing import Rectangle


def cutmix(
    first: OnCanvas,
    second: OnCanvas,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """The first image with a rectangle of the second one, at the same position.

    Yun et al., CutMix, ICCV 2019, arXiv 1905.04899; differences: the rectangle lies within the valid pixels of both images.

    Args:
        first, second: the images, on canvases of one size.
        labels: by branch.
        augment: with ``cutmix_alpha``.
        draw: draws the rectangle.
    """
    height, width = first.transform.size
    limit = (min(height, second.transform.size[0]), min(width, second.transform.size[1]))
    rectangle = random_rectangle(limit, 1 - float(draw.beta(augment.cutmix_alpha, augment.cutmix_alpha)), draw)
    left, top, right, bottom = rectangle
    share = 1 - (bottom - top) * (right - left) / (height * width)
    image = first.image.clone()
    image[:, top:bottom, left:right] = second.image[:, top:bottom, left:right]
    annotations = {}
    for name, annotation in first.annotations.items():
        mixing = task_of(annotation).mixing
        assert mixing is not None
        annotations[name] = mixing.cutmix(annotation, second.annotations[name], rectangle, share, labels.get(name))
    return OnCanvas(image, first.transform, annotations)


def random_rectangle(size: tuple[int, int], area: float, draw: np.random.Generator) -> Rectangle:
    """A rectangle of about this share of an area of (height, width), with its aspect ratio; its center is anywhere in it."""
    ends = []
    for length, position in zip(size, draw.random(2), strict=True):
        extent, center = length * math.sqrt(area), position * length
        ends.append((max(0, round(center - extent / 2)), min(length, round(center + extent / 2))))
    (top, bottom), (left, right) = ends
    return Rectangle(left, top, right, bottom)

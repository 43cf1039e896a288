"""Which images are mixed, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from vertebra.data.augmentation.copy_paste import chooser, copy_paste
from vertebra.data.augmentation.cutmix import cutmix
from vertebra.data.augmentation.mixup import mixup
from vertebra.data.augmentation.mosaic import mosaic
from vertebra.data.on_canvas import OnCanvas
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import MIXING, Augment
from vertebra.tasks import Task, get_task, task_of
from vertebra.tasks.base import LabelSpec


class Render(Protocol):
    """Returns an augmented image on a canvas: 0 is the image itself, others are partners that are drawn at random."""

    def __call__(self, number: int, resize_spec: ResizeSpec) -> OnCanvas: ...


def mixable(tasks: list[str]) -> frozenset[str]:
    """The operations on several images that are defined for images labeled for all of these tasks."""
    return _common([get_task(name) for name in tasks])


def _common(tasks: list[Task]) -> frozenset[str]:
    common = frozenset(MIXING)
    for task in tasks:
        common &= frozenset() if task.mixing is None else task.mixing.operations
    return common - {"copy_paste"} if chooser(tasks) is None else common | {"copy_paste"}


def chosen_operations(annotations: Mapping[str, Any], augment: Augment, draw: np.random.Generator) -> frozenset[str]:
    """The operations for one image. Of mix-up and cut-mix it is at most one."""
    defined = _common([task_of(annotation) for annotation in annotations.values()])
    chosen = {
        name
        for name, number in zip(MIXING, draw.random(len(MIXING)), strict=True)
        if name in defined and number < getattr(augment, name)
    }
    if chosen >= {"mixup", "cutmix"}:
        chosen.remove("mixup" if draw.random() < 0.5 else "cutmix")
    return frozenset(chosen)


def mixed(
    operations: frozenset[str],
    render: Render,
    channels: int,
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """One image of several.

    Args:
        operations: at least one, from `chosen_operations`.
        render: gives the image and its partners; each number is asked for once.
        channels: of the images.
        resize_spec: of the canvas.
        labels: by branch.
        augment: the options.
        draw: the random generator of the operations.
    """
    if "mosaic" in operations:
        image, used = mosaic(render, channels, resize_spec, labels, augment, draw), 4
    else:
        image, used = render(0, resize_spec), 1
    if "copy_paste" in operations:
        image, used = copy_paste(image, render(used, resize_spec), labels, draw), used + 1
    blend: Callable[..., OnCanvas] | None = None
    blend = mixup if "mixup" in operations else cutmix if "cutmix" in operations else None
    return image if blend is None else blend(image, render(used, resize_spec), labels, augment, draw)

"""Objects of another image, pasted by their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from vertebra.data.on_canvas import OnCanvas, larger
from vertebra.tasks import Task, task_of
from vertebra.tasks.base import LabelSpec


def chooser(tasks: Sequence[Task]) -> int | None:
    """The position of the task whose annotation chooses what copy-paste pastes, which those of all other tasks follow; None if
    copy-paste is not defined for images labeled for these tasks."""
    able = [
        number
        for number, task in enumerate(tasks)
        if task.mixing is not None and "copy_paste" in task.mixing.operations
    ]
    if len(tasks) > 1:  # masks of objects choose, masks of classes follow
        able = [number for number in able if not _follows(tasks[number])]
    if len(able) != 1 or not all(_follows(task) for number, task in enumerate(tasks) if number != able[0]):
        return None
    return able[0]


def _follows(task: Task) -> bool:
    return task.mixing is not None and task.mixing.follows_paste


def copy_paste(
    first: OnCanvas, second: OnCanvas, labels: Mapping[str, LabelSpec], draw: np.random.Generator
) -> OnCanvas:
    """The first image with objects of the second one, at the same position; see `vertebra.tasks.instances.mixing` and
    `vertebra.tasks.segment.mixing`.

    Args:
        first, second: the images, on canvases of one size, of whose annotations one chooses the objects, see `chooser`.
        labels: by branch.
        draw: chooses the objects.
    """
    names = list(first.annotations)
    tasks = [task_of(annotation) for annotation in first.annotations.values()]
    number = chooser(tasks)
    assert number is not None, "chosen_operations asks for it only where it is defined"
    name, mixing = names[number], tasks[number].mixing
    assert mixing is not None
    annotations = dict(first.annotations)
    paste, annotations[name] = mixing.copy_paste(
        first.annotations[name], second.annotations[name], draw, labels.get(name)
    )
    for other, task in zip(names, tasks, strict=True):
        if other != name:
            assert task.mixing is not None
            annotations[other] = task.mixing.follow_paste(
                first.annotations[other], second.annotations[other], paste, labels.get(other)
            )
    image = torch.where(torch.from_numpy(paste.region), second.image, first.image)
    return OnCanvas(image, larger(first.transform, second.transform), annotations)

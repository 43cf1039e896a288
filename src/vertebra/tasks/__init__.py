"""Tasks: their labels, target and prediction types, metrics and pictures; one folder a task."""

from __future__ import annotations

from typing import Any

from vertebra.errors import UnknownName
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.classify.task import CLASSIFY
from vertebra.tasks.detect.task import DETECT
from vertebra.tasks.keypoints.task import KEYPOINTS
from vertebra.tasks.segment.task import SEGMENT
from vertebra.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFY, DETECT, SEGMENT, KEYPOINTS)}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UnknownName: with the nearest names.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]


def task_of(annotation: Any) -> Task:
    """The task that an annotation is of."""
    return next(task for task in TASKS.values() if isinstance(annotation, task.annotation))


def task_of_labels(labels: LabelSpec) -> Task:
    """The task that a label specification is of."""
    return next(task for task in TASKS.values() if isinstance(labels, task.labels))


__all__ = ["TASKS", "Task", "get_task", "task_of", "task_of_labels"]

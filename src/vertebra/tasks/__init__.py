"""Tasks: their labels, target and prediction types, metrics and pictures; one folder for each task.

Another package registers a task by an entry point of the group ``vertebra.tasks``: its name is the task's name, its value a
`Task`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.box_attributes.task import ATTRIBUTES
from vertebra.tasks.classify.task import CLASSIFY
from vertebra.tasks.detect.task import DETECT
from vertebra.tasks.instances.task import INSTANCES
from vertebra.tasks.keypoints.task import KEYPOINTS
from vertebra.tasks.rotated_boxes.task import ROTATED_BOXES
from vertebra.tasks.segment.task import SEGMENT
from vertebra.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task for task in (CLASSIFY, DETECT, INSTANCES, ROTATED_BOXES, SEGMENT, KEYPOINTS, ATTRIBUTES)
}
ENTRY_POINTS = "vertebra.tasks"
KEY_SEPARATOR = ":"


@cache
def all_tasks() -> Mapping[str, Task]:
    """All tasks by name: those of this package, then those of installed packages. Entry points are read once.

    Raises:
        ConfigError: an entry point does not load a `Task` of its name.
    """
    tasks = dict(TASKS)
    for point in entry_points(group=ENTRY_POINTS):
        task = point.load()
        if not isinstance(task, Task) or task.name != point.name:
            raise ConfigError(
                f"the entry point '{point.name} = {point.value}' of group {ENTRY_POINTS} must be a "
                f"vertebra.tasks.Task with name '{point.name}'"
            )
        tasks.setdefault(task.name, task)
    return MappingProxyType(tasks)


def get_task(name: str) -> Task:
    """The task with this name, or of an index's column with this key (see `column_key`).

    Raises:
        UnknownName: with the nearest names.
    """
    name = name.partition(KEY_SEPARATOR)[0]
    task = TASKS.get(name) or all_tasks().get(name)
    if task is None:
        raise UnknownName("task", name, all_tasks())
    return task


def column_key(task: str, attribute: str) -> str:
    """The key of a column in an index: the task's name; for a task of attributes with the attribute, "box_attributes:color", so
    that an index has a column for each attribute."""
    return f"{task}{KEY_SEPARATOR}{attribute}" if get_task(task).of_boxes else task


def task_of(annotation: Any) -> Task:
    """The task of an annotation.

    Raises:
        TypeError: no task has such annotations.
    """
    return _task_of_type("annotation", type(annotation))  # type: ignore[arg-type]  # a class has a hash


def task_of_labels(labels: LabelSpec) -> Task:
    """The task of a label specification.

    Raises:
        TypeError: no task has such labels.
    """
    return _task_of_type("labels", type(labels))  # type: ignore[arg-type]  # a class has a hash


def all_image_level(names: Iterable[str]) -> bool:
    """Whether all of these tasks describe the whole image; False for no tasks."""
    tasks = [get_task(name) for name in names]
    return bool(tasks) and all(task.image_level for task in tasks)


@cache
def _task_of_type(kind: str, given: type) -> Task:
    """The first task whose class for ``kind`` is this class or a base of it; entry points are read if there is none without."""
    known = (task for tasks in (lambda: TASKS, all_tasks) for task in tasks().values())
    for task in known:
        if issubclass(given, getattr(task, kind)):
            return task
    raise TypeError(f"no task has {given.__name__} as its {kind}; tasks: {', '.join(all_tasks())}")


__all__ = ["TASKS", "Task", "all_image_level", "all_tasks", "column_key", "get_task", "task_of", "task_of_labels"]

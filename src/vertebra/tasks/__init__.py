"""Tasks: their labels, target and prediction types, metrics and pictures; one folder a task."""

from __future__ import annotations

from vertebra.errors import UnknownName
from vertebra.tasks.classify.task import CLASSIFY
from vertebra.tasks.detect.task import DETECT
from vertebra.tasks.segment.task import SEGMENT
from vertebra.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFY, DETECT, SEGMENT)}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UnknownName: with the nearest names.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]


__all__ = ["TASKS", "Task", "get_task"]

"""The task that the annotations of a data set are for, where none is named."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.open import find_data
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader, index_of
from vertebra.errors import DataError
from vertebra.tasks import all_tasks, get_task

BY_DETAIL = ("points", "masks", "boxes", "outlines", "labels")
"""Kinds of annotations: points and masks are preferred to the boxes around them."""


class FoundTask(NamedTuple):
    """The task of a data set.

    Attributes:
        name: of the task.
        kind: the kind of annotations that it is taken from; "" for a format that holds one task only.
        format: the data set's format.
        alternatives: further tasks whose labels can be made from its annotations.
    """

    name: str
    kind: str
    format: str
    alternatives: tuple[str, ...]

    def __str__(self) -> str:
        source = f"from its {self.kind}, " if self.kind else ""
        more = f"; --task chooses another: {', '.join(self.alternatives)}" if self.alternatives else ""
        return f"task {self.name} ({source}format {self.format}){more}"


def find_task(path: str | Path, format: str | None = None) -> FoundTask:
    """The task that a data set's most detailed annotations are for.

    Args:
        path, format: as `vertebra.data.open.open_data` takes them.

    Raises:
        DataError: it is missing, empty, of unknown format, or has no annotations.
    """
    data_set = find_data(path, None, format)
    reader = all_readers()[data_set.format]
    if not isinstance(reader, AnnotationReader):
        return FoundTask(reader.tasks[0], "", data_set.format, reader.tasks[1:])
    kinds: frozenset[str] = frozenset()
    failures: list[DataError] = []
    source = next(iter(reader.splits(data_set.path)), None)
    try:
        annotations = reader.load(data_set.path, source, ReadOptions())
        kinds = annotations.kinds
    except DataError as error:
        failures.append(error)
    tasks = all_tasks()
    for kind in BY_DETAIL:
        fitting = [name for name, task in tasks.items() if kind in task.data.direct_kinds]
        if kind in kinds and fitting:
            others = [name for name, task in tasks.items() if task.data.source_kinds & kinds and name != fitting[-1]]
            derived = tuple(name for name in others if _can_be_read(annotations, name))
            return FoundTask(fitting[-1], kind, data_set.format, derived)
    if failures:
        raise failures[0]
    for name, task in tasks.items():  # objects with a class alone, as those of iNaturalist
        if "labels" in task.data.direct_kinds and len(annotations.objects) and _can_be_read(annotations, name):
            return FoundTask(name, "labels", data_set.format, ())
    raise DataError(f"{data_set.path}: it has no annotations that show a task; name it: --task")


def _can_be_read(annotations: Annotations, task: str) -> bool:
    """Whether a task's labels can be made from annotations; those of its own kinds are not tried."""
    if get_task(task).data.direct_kinds & annotations.kinds:
        return True
    try:
        index_of(annotations, task, ReadOptions())
    except DataError:
        return False
    return True

"""Maps a data set's class ids to those of a branch, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.errors import DataError, suggest
from vertebra.tasks import task_of_labels
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True, eq=False)
class ClassMapping:
    """Maps annotations of a data set to a branch's class ids.

    Attributes:
        ids: (K,) int64, the branch's class id of each class of the data set, -1 for classes that it does not have.
        labels: the branch's labels.
        source_labels: the data set's labels.
    """

    ids: np.ndarray
    labels: LabelSpec
    source_labels: LabelSpec

    def __call__(self, annotation: Any) -> Any:
        """The annotation with the branch's class ids."""
        if self.source_labels == self.labels:
            return annotation
        return task_of_labels(self.labels).data.relabel(annotation, self.ids, self.source_labels, self.labels)


def class_mapping(
    source_labels: LabelSpec,
    labels: LabelSpec,
    branch: str,
    where: str,
    rename_classes: Mapping[str, str] | None = None,
) -> tuple[ClassMapping, list[Note]]:
    """The mapping from a data set's classes to a branch's.

    Args:
        source_labels: the data set's labels.
        labels: the branch's.
        branch: its name, for messages.
        where: the data set, for messages.
        rename_classes: the branch's names of classes with other names in the data set.

    Returns:
        The mapping, and notes about classes that the branch does not have.

    Raises:
        DataError: the tasks differ, only one of them is exclusive, or they have no class or no point in common.
    """
    if type(source_labels) is not type(labels):
        raise DataError(
            f"{where}: its labels are {type(source_labels).__name__}, but branch '{branch}' has {type(labels).__name__}"
        )
    if getattr(source_labels, "multilabel", False) != getattr(labels, "multilabel", False):
        words = {False: "exclusive", True: "overlapping"}
        raise DataError(
            f"{where}: opened with {words[source_labels.multilabel]} classes, but branch '{branch}' has "  # type: ignore[attr-defined]
            f"{words[labels.multilabel]} ones; open it with multilabel={labels.multilabel}"  # type: ignore[attr-defined]
        )
    positions = {name: number for number, name in enumerate(labels.classes)}
    names = [(rename_classes or {}).get(name, name) for name in source_labels.classes]
    ids = np.array([positions.get(name, -1) for name in names], dtype=np.int64)
    unknown = [name for name, class_id in zip(source_labels.classes, ids.tolist(), strict=True) if class_id < 0]
    if len(unknown) == len(source_labels.classes):
        raise DataError(
            f"{where}: branch '{branch}' knows none of its classes ({', '.join(unknown[:8])}). "
            f"{suggest(unknown[0], labels.classes)}"
        )
    notes = [Note.of("class", f"of {where} that branch '{branch}' has not", "left out", unknown)] if unknown else []
    return ClassMapping(ids, labels, source_labels), [*notes, *_lacking(source_labels, labels, branch, where)]


def _lacking(source_labels: LabelSpec, labels: LabelSpec, branch: str, where: str) -> list[Note]:
    """Notes about parts of the branch's objects (points) that the data set does not have.

    Raises:
        DataError: it has none of them.
    """
    lacking = [name for name in labels.object_parts if name not in source_labels.object_parts]
    if lacking and len(lacking) == len(labels.object_parts):
        raise DataError(
            f"{where}: it has none of the points of branch '{branch}' ({', '.join(lacking[:8])}). "
            f"{suggest(lacking[0], source_labels.object_parts)}"
        )
    return (
        [Note.of("point", f"of branch '{branch}' that {where} has not", "not learned from it", lacking)]
        if lacking
        else []
    )

"""The index of an opened data set: columns of numbers, one row for each image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.column import Column


@dataclass(frozen=True, eq=False)
class Index:
    """One split of a data set.

    Attributes:
        root: folder that the image paths are relative to.
        images: (n,) bytes (dtype ``S``), paths of the images in the file system's encoding; compact, and shared by worker
            processes.
        columns: the annotations of each task.
        labels: the label specification of each task.
        notes: problems that were handled.
    """

    root: Path
    images: np.ndarray
    columns: Mapping[str, Column]
    labels: Mapping[str, LabelSpec]
    notes: list[Note] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def path(self, row: int) -> Path:
        """An image's file."""
        return self.root / os.fsdecode(self.images[row])

    def same_images(self, other: Index) -> bool:
        """Whether another index has the same images in the same order."""
        return self.root == other.root and np.array_equal(self.images, other.images)

    def joined(self, other: Index) -> Index:
        """The same images with the annotations of both indices, which are of different tasks."""
        return replace(
            self,
            columns={**self.columns, **other.columns},
            labels={**self.labels, **other.labels},
            notes=list(dict.fromkeys([*self.notes, *other.notes])),
        )

    def strata(self, task: str) -> np.ndarray:
        """(n,) or (n, K), what every split needs in proportion, see `vertebra.tasks.data.TaskData.strata`."""
        return get_task(task).data.strata(self.columns[task], np.arange(self.labels[task].class_count))

    def take(self, rows: np.ndarray | Sequence[int]) -> Index:
        """Some images only, in the given order.

        Args:
            rows: (m,) row numbers.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        columns = {task: column.take(chosen) for task, column in self.columns.items()}
        return replace(self, images=self.images[chosen], columns=columns)

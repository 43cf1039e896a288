"""The index of an opened data set: columns of numbers, one row for each image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec

SHOWN = 3


class Column(Protocol):
    """The annotations of one task for all images of a data set.

    Attributes:
        labeled: (n,) bool; False for an image that is not annotated for this task, as opposed to an image annotated as
            having no objects.
    """

    @property
    def labeled(self) -> np.ndarray: ...

    def get(self, row: int, size: tuple[int, int]) -> Any:
        """The annotation of one labeled image whose (height, width) in pixels is ``size``.

        Raises:
            DataError: the annotation cannot be read or does not fit the image; the message names the file.
        """
        ...

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts annotations outside the image, by kind, when it is decoded at this (height, width)."""
        ...

    def take(self, rows: np.ndarray) -> Column:
        """The column of some images only."""
        ...


@dataclass(frozen=True)
class Note:
    """A warning about a problem that was handled, with its count and the first few names.

    Its text is "2 boxes of zero area were dropped: a.xml, b.xml".

    Attributes:
        noun: the item, in the singular: "box".
        which: the problem: "of zero area".
        done: the action: "dropped".
        count: number of items.
        names: the first few files or classes.
        more: whether there are more names.
    """

    noun: str
    which: str
    done: str
    count: int
    names: tuple[str, ...] = ()
    more: bool = False

    @classmethod
    def of(cls, noun: str, which: str, done: str, names: Sequence[str], count: int | None = None) -> Note:
        """A note about these names, one for each item; a name is listed once."""
        different = list(dict.fromkeys(names))
        number = len(names) if count is None else count
        return cls(noun, which, done, number, tuple(different[:SHOWN]), len(different) > SHOWN)

    def __str__(self) -> str:
        names = ", ".join(self.names) + (", …" if self.more else "")
        verb = "was" if self.count == 1 else "were"
        words = [str(self.count), self.noun if self.count == 1 else plural(self.noun), self.which, verb, self.done]
        return " ".join(word for word in words if word) + (f": {names}" if names else "")


def plural(noun: str) -> str:
    """The plural of an English noun that this package uses."""
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "s")) else "s")


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
        """(n,) int64, 0 for images that count in a task's metrics and 1 for the others; every split needs both."""
        ids = np.arange(self.labels[task].class_count)
        empty: np.ndarray = ~get_task(task).data.measurable(self.columns[task], ids)
        return empty.astype(np.int64)

    def take(self, rows: np.ndarray | Sequence[int]) -> Index:
        """Some images only, in the given order.

        Args:
            rows: (m,) row numbers.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        columns = {task: column.take(chosen) for task, column in self.columns.items()}
        return replace(self, images=self.images[chosen], columns=columns)


def path_column(paths: Sequence[str]) -> np.ndarray:
    """Relative paths as the ``images`` column of an index."""
    return np.array([os.fsencode(path) for path in paths], dtype=np.bytes_) if paths else np.zeros(0, dtype="S1")

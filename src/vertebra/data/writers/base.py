"""The interface of a writer, from the annotations of a data set to its files in one format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import SPLITS, Annotations

Progress = Callable[[Sequence[int], str], Iterable[int]]
IMAGE_MODES = ("copy", "link", "none")
WITHOUT = "written without it"


def no_progress(rows: Sequence[int], text: str) -> Iterable[int]:
    """The rows, without a progress bar."""
    return rows


@dataclass(frozen=True)
class Target:
    """Where and how a data set is written.

    Attributes:
        folder: an empty folder.
        images: "copy"; "link" for hard links, and copies where the file system has none; "none" for annotations alone.
        progress: wraps the rows of the images, with the name of the step, for a progress bar.
        shard_bytes: largest size of a shard, for formats with shards.
    """

    folder: Path
    images: str = "copy"
    progress: Progress = no_progress
    shard_bytes: int = 1 << 29


class Writer(ABC):
    """Writes data sets in one format.

    Attributes:
        name: the format's name on the command line.
        summary: a short description of the format.
        reader: name of the reader that reads it.
        holds: the kinds of annotations that are written, see `vertebra.annotations.table.KINDS`; also those that are converted
            to another kind, such as masks to run lengths.
        keeps: what else is kept, of `DETAILS`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reader: ClassVar[str]
    holds: ClassVar[frozenset[str]]
    keeps: ClassVar[frozenset[str]]

    @abstractmethod
    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a data set.

        Args:
            annotations: with at least one image, one category, and one kind of annotations that the format holds.
            target: where and how.

        Returns:
            Notes about what is changed or cannot be written, besides those of `losses`.

        Raises:
            DataError: the format cannot hold the data set, or an image cannot be read.
        """


DETAILS = (
    "image ids",
    "object ids",
    "class ids",
    "areas",
    "crowd",
    "attributes",
    "groups",
    "not annotated",
    "class details",
    "hidden points",
    "label scope",
)
"""What formats hold beside the kinds of annotations."""


def losses(annotations: Annotations, writer: Writer) -> list[Note]:
    """Counted notes about all that a format cannot hold."""
    objects, notes = annotations.objects, []
    row_names = annotations.names(np.arange(len(annotations)))

    def add(detail: str, noun: str, which: str, done: str, chosen: np.ndarray, names: Sequence[str]) -> None:
        if detail not in writer.keeps and chosen.any():
            notes.append(Note.of(noun, which, done, [names[number] for number in np.flatnonzero(chosen).tolist()]))

    def of_objects(detail: str, which: str, done: str, chosen: np.ndarray) -> None:
        if detail not in writer.keeps and chosen.any():
            notes.append(Note.of("object", which, done, [row_names[row] for row in objects.rows[chosen].tolist()]))

    if "labels" not in writer.holds and len(annotations.labels):
        names = [row_names[row] for row in annotations.labels[:, 0].tolist()]
        notes.append(Note.of("class", "of a whole image", "left out", names))
    if annotations.masks is not None and "masks" not in writer.holds:
        notes.append(Note.of("image", "with a mask", WITHOUT, row_names))
    for kind, which, chosen in (
        ("outlines", "with an outline or a mask", objects.has_shape),
        ("points", "with points", objects.has_points),
    ):
        if kind not in writer.holds:
            of_objects(kind, which, f"written without {'them' if kind == 'points' else 'it'}", chosen)
    ids = annotations.image_ids or ()
    add("image ids", "image", "with an id", WITHOUT, np.array([key is not None for key in ids], dtype=bool), row_names)
    of_objects("object ids", "with an id", WITHOUT, _not_none(objects.ids, len(objects)))
    of_objects("areas", "with an area", WITHOUT, np.isfinite(objects.areas))
    of_objects("crowd", "that is a crowd, or does not count,", "written as any other", objects.crowd)
    filled = np.array([bool(values) for values in objects.attributes or ()], dtype=bool)
    of_objects("attributes", "with further attributes", "written without them", filled)
    hidden = objects.points[:, 2] == 1
    of_points = np.repeat(np.arange(len(objects)), np.diff(objects.point_offsets))
    of_objects(
        "hidden points",
        "with hidden points",
        "written with them as visible",
        np.isin(np.arange(len(objects)), of_points[hidden]),
    )
    if annotations.groups is not None:
        counts = np.bincount(annotations.groups, minlength=1)
        add("groups", "image", "of a group", "written without the group", counts[annotations.groups] > 1, row_names)
    add(
        "not annotated",
        "image",
        "that nobody annotated",
        "written as one without objects",
        ~annotations.annotated,
        row_names,
    )
    if annotations.scope is not None:
        which = "in which not all classes are annotated"
        add("label scope", "image", which, "written as if all were", annotations.scope.partial, row_names)
    categories = annotations.categories
    numbered = [category.id not in (None, number) for number, category in enumerate(categories)]
    add("class ids", "class", "with an id", WITHOUT, np.array(numbered, dtype=bool), annotations.category_names)
    detailed = [bool(c.supercategory or c.skeleton or c.color or c.flip_pairs) for c in categories]
    which, done = "with a skeleton, a color or a class above it", "written without these"
    add("class details", "class", which, done, np.array(detailed, dtype=bool), annotations.category_names)
    return notes


def _not_none(values: tuple[object, ...] | None, count: int) -> np.ndarray:
    return (
        np.zeros(count, dtype=bool) if values is None else np.array([value is not None for value in values], dtype=bool)
    )


def split_rows(annotations: Annotations, notes: list[Note]) -> dict[str, np.ndarray]:
    """The rows of the images of each split; the key is "" for a data set without splits.

    Images of no split beside others of one become images for training, with a note.
    """
    if annotations.splits is None or (annotations.splits < 0).all():
        return {"": np.arange(len(annotations))}
    stray = annotations.splits < 0
    if stray.any():
        names = annotations.names(np.flatnonzero(stray))
        notes.append(Note.of("image", "of no split", "written as one of train", names))
    codes = np.where(stray, 0, annotations.splits)
    parts = {split: np.flatnonzero(codes == code) for code, split in enumerate(SPLITS)}
    return {split: rows for split, rows in parts.items() if len(rows)}


def objects_of(annotations: Annotations) -> list[np.ndarray]:
    """The numbers of each image's objects, in their order."""
    order = np.argsort(annotations.objects.rows, kind="stable")
    ends = np.cumsum(np.bincount(annotations.objects.rows, minlength=len(annotations)))
    return np.split(order, ends[:-1])


def labels_of(annotations: Annotations) -> list[list[str]]:
    """The class names of each image, in their order."""
    names = annotations.category_names
    labels: list[list[str]] = [[] for _ in range(len(annotations))]
    for row, number in annotations.labels.tolist():
        labels[row].append(names[number])
    return labels


def is_plain(value: object) -> bool:
    """Whether an attribute is a text, a number, true or false, which a file of texts can hold."""
    return isinstance(value, str | int | float)


def plain_text(value: object) -> str:
    """A plain attribute as text: true and false in words."""
    return str(value).lower() if isinstance(value, bool) else str(value)

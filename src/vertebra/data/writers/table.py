"""Writes tables: ``boxes.csv`` with a box in each row, ``labels.csv`` with a class of an image in each row, and ``images``.

An image without boxes has a row without a box; ``classes.csv`` has the order of the classes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.writers.base import Target, Writer, labels_of, objects_of, split_rows
from vertebra.data.writers.images import all_sizes, copy_images, image_names
from vertebra.data.writers.kinds import finite_boxes, without

BOX = ("xmin", "ymin", "xmax", "ymax")


class CsvWriter(Writer):
    """CSV files with boxes and with classes of images."""

    name = "csv"
    summary = "tables (boxes.csv or labels.csv, and images)"
    reader = "table"
    holds = frozenset({"labels", "boxes"})
    keeps = frozenset({"crowd"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a table for each kind of annotations, with a column of splits if there are any."""
        notes: list[Note] = []
        boxes = finite_boxes(annotations, notes)
        usable = ~np.isnan(boxes).any(axis=1)
        annotations, boxes = without(annotations, ~usable, "without a box, an outline or points", notes), boxes[usable]
        names = [f"images/{name}" for name in image_names(annotations, notes)]
        parts = split_rows(annotations, notes)
        split_of_row = {int(row): split for split, rows in parts.items() for row in rows}
        copy_images(annotations, names, target)
        splits = [] if "" in parts else [split_of_row[row] for row in range(len(annotations))]
        if len(annotations.objects) or not len(annotations.labels):
            _write_boxes(annotations, boxes, names, splits, target.folder / "boxes.csv")
        if len(annotations.labels):
            _write_labels(annotations, names, splits, target.folder / "labels.csv")
        classes = annotations.category_names
        _write(target.folder / "classes.csv", [(name, number) for number, name in enumerate(classes)])
        _note_names(annotations, notes)
        return notes


def _write_boxes(
    annotations: Annotations, boxes: np.ndarray, names: Sequence[str], splits: Sequence[str], file: Path
) -> None:
    objects, classes, sizes = annotations.objects, annotations.category_names, all_sizes(annotations)
    with_crowd = bool(objects.crowd.any())
    rows: list[Sequence[Any]] = [
        (
            "image",
            *BOX,
            "label",
            "width",
            "height",
            *(["iscrowd"] if with_crowd else []),
            *(["split"] if splits else []),
        )
    ]
    for row, numbers in enumerate(objects_of(annotations)):
        size = (int(sizes[row, 1]), int(sizes[row, 0]))
        split = splits[row : row + 1]
        for number in numbers.tolist():
            sides = [int(side) if side.is_integer() else repr(side) for side in boxes[number].tolist()]
            crowd = [int(objects.crowd[number])] if with_crowd else []
            rows.append((names[row], *sides, classes[int(objects.categories[number])], *size, *crowd, *split))
        if not len(numbers):
            rows.append((names[row], *[""] * 5, *size, *([""] if with_crowd else []), *split))
    _write(file, rows)


def _write_labels(annotations: Annotations, names: Sequence[str], splits: Sequence[str], file: Path) -> None:
    rows: list[Sequence[Any]] = [("image", "label", *(["split"] if splits else []))]
    for row, labels in enumerate(labels_of(annotations)):
        rows += [(names[row], label, *splits[row : row + 1]) for label in labels or [""]]
    _write(file, rows)


def _write(file: Path, rows: Iterable[Sequence[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)


def _note_names(annotations: Annotations, notes: list[Note]) -> None:
    odd = [name for name in annotations.category_names if "|" in name or ";" in name]
    if odd:
        notes.append(Note.of("class", "with ; or | in its name", "written so, which readers may take for several", odd))

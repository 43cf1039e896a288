"""Writes tables: ``boxes.csv`` with a box in each row, ``labels.csv`` with a class of an image in each row, and ``images``.

An image without boxes has a row without a box; ``classes.csv`` has the order of the classes.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.readers.table_columns import CROWD, FLAGS, IMAGE, LABEL, ROLES, SIZE, SPLIT
from vertebra.data.readers.table_files import normal_name
from vertebra.data.writers.base import Target, Writer, labels_of, objects_of, plain_text, split_rows
from vertebra.data.writers.images import all_sizes, copy_images, image_names
from vertebra.data.writers.kinds import finite_boxes, without

BOX = ("xmin", "ymin", "xmax", "ymax")
TAKEN = frozenset({*IMAGE, *LABEL, *SPLIT, *FLAGS, *CROWD, *ROLES, *itertools.chain.from_iterable(SIZE)})
"""Normal names of columns that are read as something else than an attribute."""


class CsvWriter(Writer):
    """CSV files with boxes and with classes of images."""

    name = "csv"
    summary = "tables (boxes.csv or labels.csv, and images)"
    reader = "table"
    holds = frozenset({"labels", "boxes"})
    keeps = frozenset({"crowd", "attributes"})

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
            attributes = _attribute_columns(annotations, notes)
            _write_boxes(annotations, boxes, names, splits, attributes, target.folder / "boxes.csv")
        if len(annotations.labels):
            _write_labels(annotations, names, splits, target.folder / "labels.csv")
        classes = annotations.category_names
        _write(target.folder / "classes.csv", [(name, number) for number, name in enumerate(classes)])
        _note_names(annotations, notes)
        return notes


def _write_boxes(
    annotations: Annotations,
    boxes: np.ndarray,
    names: Sequence[str],
    splits: Sequence[str],
    attributes: Sequence[str],
    file: Path,
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
            *attributes,
            *(["split"] if splits else []),
        )
    ]
    for row, numbers in enumerate(objects_of(annotations)):
        size = (int(sizes[row, 1]), int(sizes[row, 0]))
        split = splits[row : row + 1]
        for number in numbers.tolist():
            sides = [int(side) if side.is_integer() else repr(side) for side in boxes[number].tolist()]
            crowd = [int(objects.crowd[number])] if with_crowd else []
            given = objects.attributes[number] if objects.attributes is not None else {}
            values = [_cell(given.get(name)) for name in attributes]
            label = classes[int(objects.categories[number])]
            rows.append((names[row], *sides, label, *size, *crowd, *values, *split))
        if not len(numbers):
            rows.append((names[row], *[""] * 5, *size, *[""] * (with_crowd + len(attributes)), *split))
    _write(file, rows)


def _attribute_columns(annotations: Annotations, notes: list[Note]) -> list[str]:
    """The attributes that are written as columns; those whose name stands for something else are noted."""
    names = list(dict.fromkeys(name for each in annotations.objects.attributes or () for name in each))
    taken = [name for name in names if normal_name(name) in TAKEN or not name.strip()]
    if taken:
        notes.append(Note.of("attribute", "whose name stands for another column", "left out", taken))
    return [name for name in names if name not in taken]


def _cell(value: object) -> str:
    """A cell; several values divided by ";"."""
    if value is None:
        return ""
    return ";".join(map(plain_text, value)) if isinstance(value, list | tuple) else plain_text(value)


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

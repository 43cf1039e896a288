"""Writes DOTA: a text file for each image, with the four corners, the class and the difficulty of each object in pixels.

``train/images/a.png`` has its lines in ``train/labelTxt/a.txt``. An object of another outline than four points is written with the
smallest rectangle around it, and one with a box alone with the corners of the box.
"""

from __future__ import annotations

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.rectangles_around import is_quadrilateral, quadrilaterals, rectangles_around
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.data.writers.base import Target, Writer, objects_of, split_rows
from vertebra.data.writers.images import copy_images, image_names, in_folder_order
from vertebra.data.writers.kinds import finite_boxes, masks_as_objects, without
from vertebra.errors import DataError
from vertebra.geometry.rectangles import upright_corners


class DotaWriter(Writer):
    """DOTA's text files."""

    name = "dota"
    summary = "DOTA (images and labelTxt, with four corners of each object)"
    reader = "dota"
    holds = frozenset({"boxes", "outlines", "masks"})
    keeps = frozenset({"crowd", "not annotated"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a text file for each image that somebody annotated."""
        notes: list[Note] = []
        wrong = [name for name in annotations.category_names if name.split() != [name] or _is_number(name)]
        if wrong:
            raise DataError(f"class names of DOTA are words without spaces, and no numbers; rename '{wrong[0]}' first")
        annotations = masks_as_objects(annotations, notes, target.progress)
        annotations, corners = _with_corners(annotations, notes)
        names = image_names(annotations, notes, folders="short", by_stem=True, by_split=True)
        parts = split_rows(annotations, notes)
        folder_of = {int(row): f"{split}/" if split else "" for split, rows in parts.items() for row in rows}
        copy_images(annotations, [f"{folder_of[row]}images/{name}" for row, name in enumerate(names)], target)
        objects, classes = annotations.objects, annotations.category_names
        for row, numbers in enumerate(objects_of(annotations)):
            if annotations.annotated[row]:
                file = target.folder / f"{folder_of[row]}labelTxt" / f"{names[row].rpartition('.')[0]}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                lines = [
                    f"{' '.join(map(_text, corners[number].reshape(-1).tolist()))} {classes[objects.categories[number]]} "
                    f"{int(objects.crowd[number])}\n"
                    for number in numbers.tolist()
                ]
                file.write_text("".join(lines), encoding="utf-8")
        bare = np.flatnonzero(~annotations.annotated)
        if len(bare):
            which = "that nobody annotated"
            notes.append(Note.of("image", which, "written without a text file", annotations.names(bare)))
        for rows in parts.values():
            if not in_folder_order([names[row] for row in rows.tolist()]):
                notes.append(Note.of("image", "of a folder", "written without their order", [], len(rows)))
        return notes


def _with_corners(annotations: Annotations, notes: list[Note]) -> tuple[Annotations, np.ndarray]:
    """The annotations of objects that have four corners, and these, (B, 4, 2) float64."""
    objects = annotations.objects
    shapes = objects.shapes or Shapes.none(len(objects))
    quadrilateral, drawn = is_quadrilateral(shapes), shapes.drawn
    corners = rectangles_around(shapes)
    corners[quadrilateral] = quadrilaterals(shapes, quadrilateral)
    boxed = ~drawn
    corners[boxed] = upright_corners(finite_boxes(annotations, []))[boxed]
    missing = np.isnan(corners).any(axis=(1, 2))
    for chosen, which, done in (
        (boxed & ~missing, "with a box alone", "written with the corners of the box"),
        (
            drawn & ~quadrilateral & ~missing,
            "whose outline is no quadrilateral",
            "written as the smallest rectangle around it",
        ),
    ):
        if chosen.any():
            notes.append(Note.of("object", which, done, annotations.names(objects.rows[chosen])))
    kept = without(annotations, missing, "without an outline or a box", notes)
    return kept, corners[~missing]


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)

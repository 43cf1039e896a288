"""Writes LabelMe: a JSON file beside each image, in folders of splits.

Shapes of one object share a ``group_id``: its box as a rectangle, each outline as a polygon, run lengths as a mask, points by their
names. Classes of an image are its flags.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.readers.labelme import ANONYMOUS
from vertebra.data.writers.base import Target, Writer, labels_of, objects_of, split_rows
from vertebra.data.writers.images import all_sizes, copy_images, image_names, in_folder_order
from vertebra.data.writers.kinds import has_runs, masks_as_objects, outlines_of, without

VERSION = "5.5.0"  # of LabelMe, whose files have these shapes


class LabelMeWriter(Writer):
    """LabelMe's JSON files."""

    name = "labelme"
    summary = "LabelMe (a JSON file beside each image)"
    reader = "labelme"
    holds = frozenset({"labels", "boxes", "outlines", "points", "masks"})
    keeps = frozenset({"crowd", "attributes", "not annotated"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a JSON file for each image that somebody annotated."""
        notes: list[Note] = []
        annotations = masks_as_objects(annotations, notes, target.progress)
        objects = annotations.objects
        damaged = objects.has_box & ~np.isfinite(objects.boxes).all(axis=1)
        annotations = without(annotations, damaged, "with a side that is no number", notes)
        objects = annotations.objects
        of_points = np.repeat(np.arange(len(objects)), np.diff(objects.point_offsets))
        labeled = np.isin(np.arange(len(objects)), of_points[objects.points[:, 2] > 0])
        empty = ~(objects.has_box | objects.has_shape | labeled)
        annotations = without(annotations, empty, "without a box, an outline or points", notes)
        _note_nameless(annotations, notes)
        names = image_names(annotations, notes, folders="short", by_stem=True, by_split=True)
        parts = split_rows(annotations, notes)
        folder_of = {int(row): f"{split}/" if split else "" for split, rows in parts.items() for row in rows}
        names = [folder_of[row] + name for row, name in enumerate(names)]
        copy_images(annotations, names, target)
        sizes, labels = all_sizes(annotations), labels_of(annotations)
        for row, numbers in enumerate(objects_of(annotations)):
            if annotations.annotated[row]:
                document = {
                    "version": VERSION,
                    "flags": dict.fromkeys(labels[row], True),
                    "shapes": [shape for number in numbers.tolist() for shape in _shapes(annotations, number)],
                    "imagePath": names[row].rpartition("/")[2],
                    "imageData": None,
                    "imageHeight": int(sizes[row, 0]),
                    "imageWidth": int(sizes[row, 1]),
                }
                file = target.folder / f"{names[row].rpartition('.')[0]}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(document, ensure_ascii=False, indent=1, default=str), encoding="utf-8")
        _note_images(annotations, parts, names, notes)
        return notes


def _note_nameless(annotations: Annotations, notes: list[Note]) -> None:
    """Counts objects of only points, since a point's label is its own name, and no other shape has the class."""
    objects = annotations.objects
    named = np.array([category.name != ANONYMOUS for category in annotations.categories], dtype=bool)
    lost = ~(objects.has_box | objects.has_shape)
    lost &= named[objects.categories] if len(named) else False
    if lost.any():
        done = f"written without it, to be read as class '{ANONYMOUS}'"
        notes.append(Note.of("object", "of only points with a class", done, annotations.names(objects.rows[lost])))


def _note_images(
    annotations: Annotations, parts: Mapping[str, np.ndarray], names: list[str], notes: list[Note]
) -> None:
    bare = np.flatnonzero(~annotations.annotated)
    if len(bare):
        notes.append(Note.of("image", "that nobody annotated", "written without a JSON file", annotations.names(bare)))
    for rows in parts.values():
        if not in_folder_order([names[row] for row in rows.tolist()]):
            notes.append(Note.of("image", "of a folder", "written without their order", [], len(rows)))


def _shapes(annotations: Annotations, number: int) -> list[dict[str, Any]]:
    """The shapes of one object."""
    objects = annotations.objects
    category = annotations.categories[int(objects.categories[number])]
    shapes: list[dict[str, Any]] = []
    if not np.isnan(objects.boxes[number]).any():
        shapes.append(
            {"label": category.name, "points": objects.boxes[number].reshape(2, 2).tolist(), "shape_type": "rectangle"}
        )
    if objects.shapes is not None and has_runs(objects.shapes, number):
        shapes.append({"label": category.name, **_mask(annotations, number)})
    elif objects.shapes is not None:
        for outline in outlines_of(objects.shapes, number):
            points = outline.reshape(-1, 2).tolist()
            shapes.append({"label": category.name, "points": points, "shape_type": "polygon"})
    more: dict[str, Any] = {"difficult": True} if objects.crowd[number] else {}
    if objects.attributes is not None and objects.attributes[number]:
        more["attributes"] = dict(objects.attributes[number])
    shapes = [{**shape, **more} for shape in shapes]
    first, last = objects.point_offsets[number : number + 2].tolist()
    names = [*category.points, *map(str, range(len(category.points), last - first))]
    for name, (x, y, visibility) in zip(names, objects.points[first:last].tolist(), strict=False):
        if visibility > 0:
            shapes.append({"label": name, "points": [[x, y]], "shape_type": "point"})
    group = number + 1 if len(shapes) > 1 or (shapes and shapes[0]["shape_type"] == "point") else None
    return [{"description": "", "flags": {}, "group_id": group, **shape} for shape in shapes]


def _mask(annotations: Annotations, number: int) -> dict[str, Any]:
    """The part of a mask inside of its box, as a PNG file in text."""
    shapes = annotations.objects.shapes
    assert shapes is not None
    region = shapes.region(number, (int(shapes.sizes[number, 0]), int(shapes.sizes[number, 1])))
    bounds = (0.0, 0.0, 1.0, 1.0) if not region.area else region.bounds()
    left, top, right, bottom = map(int, bounds)
    with io.BytesIO() as content:
        Image.fromarray(region.mask()[top:bottom, left:right].astype(np.uint8) * 255).save(content, "PNG")
        text = base64.b64encode(content.getvalue()).decode("ascii")
    return {
        "points": [[float(left), float(top)], [float(right - 1), float(bottom - 1)]],
        "shape_type": "mask",
        "mask": text,
    }

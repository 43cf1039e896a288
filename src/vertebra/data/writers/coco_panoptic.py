"""Writes COCO panoptic: ``annotations/panoptic_train.json`` for each split, or ``annotations/panoptic.json``, with a folder of PNG
files of the same name, and ``images``.

Files of segment ids are copied as they are. Outlines and run lengths are drawn, larger objects first, so that smaller ones in front
of them stay visible; of mask files of classes each class of an image is a segment of stuff.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from vertebra.annotations.class_ids import object_boxes
from vertebra.annotations.mask_files import read_segment_ids, segment_colors
from vertebra.annotations.notes import Note
from vertebra.annotations.run_lengths import label_regions
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.data.writers.base import Target, Writer, objects_of, split_rows
from vertebra.data.writers.coco import filled_ids
from vertebra.data.writers.images import all_sizes, copy_images, image_names
from vertebra.data.writers.kinds import masks_as_objects, without
from vertebra.errors import DataError
from vertebra.shards.members import copy_file


class CocoPanopticWriter(Writer):
    """COCO panoptic JSON with PNG files of segment ids."""

    name = "coco_panoptic"
    summary = "COCO panoptic JSON (annotations/panoptic_train.json, its PNG files, and images)"
    reader = "coco_panoptic"
    holds = frozenset({"boxes", "outlines", "masks"})
    keeps = frozenset({"image ids", "object ids", "class ids", "areas", "crowd", "not annotated", "class details"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a JSON file and a folder of PNG files for each split.

        Raises:
            DataError: no object has an outline or a mask, or a mask cannot be read.
        """
        notes: list[Note] = []
        drawn = not annotations.has_segment_ids
        if drawn:
            annotations = _drawable(annotations, notes, target)
        names = image_names(annotations, notes)
        copy_images(annotations, [f"images/{name}" for name in names], target)
        parts = split_rows(annotations, notes)
        (target.folder / "annotations").mkdir()
        segments = _DrawnSegments(annotations) if drawn else _ReadSegments(annotations, notes)
        image_ids = filled_ids(annotations.image_ids, list(parts.values()), "image", notes)
        category_ids = filled_ids(
            tuple(category.id for category in annotations.categories),
            [np.arange(len(annotations.categories))],
            "class",
            notes,
        )
        labeled = annotations.annotated if annotations.masks is None else annotations.masks.files != b""
        sizes = all_sizes(annotations)
        stems = _mask_names(names, list(parts.values()))
        for split, rows in parts.items():
            file = target.folder / "annotations" / (f"panoptic_{split}.json" if split else "panoptic.json")
            images, entries = [], []
            for row in target.progress(rows.tolist(), "masks"):
                height, width = sizes[row].tolist()
                images.append({"id": image_ids[row], "file_name": names[row], "width": width, "height": height})
                if labeled[row]:
                    mask = file.with_suffix("") / f"{stems[row]}.png"
                    mask.parent.mkdir(parents=True, exist_ok=True)
                    infos = [
                        {**info, "category_id": category_ids[info["category_id"]]} for info in segments.write(row, mask)
                    ]
                    entry = {"image_id": image_ids[row], "file_name": f"{stems[row]}.png", "segments_info": infos}
                    entries.append(entry)
            content = {"images": images, "annotations": entries, "categories": _categories(annotations, category_ids)}
            file.write_bytes(msgspec.json.encode(content, enc_hook=str))
        notes += segments.notes()
        return notes


class _ReadSegments:
    """The segments of files of segment ids."""

    def __init__(self, annotations: Annotations, notes: list[Note]) -> None:
        assert annotations.masks is not None
        self.annotations, self.masks = annotations, annotations.masks
        self.boxes = object_boxes(annotations, "segment", notes)
        self.numbers = objects_of(annotations)

    def write(self, row: int, file: Path) -> list[dict[str, Any]]:
        """Copies the file of an image; its segments, with the number of the category as ``category_id``."""
        source = self.masks.root / os.fsdecode(self.masks.files[row])
        if source.suffix.lower() == ".png":
            copy_file(source, file)
        else:
            _save(read_segment_ids(source), file)
        objects = self.annotations.objects
        numbers = self.numbers[row].tolist()
        areas = objects.areas[numbers]
        if not np.isfinite(areas).all():
            values, counts = np.unique(read_segment_ids(source), return_counts=True)
            pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
            keys = [pixels.get((objects.ids or ())[number], 0) for number in numbers]
            areas = np.where(np.isfinite(areas), areas, keys)
        return [
            _info(
                (objects.ids or ())[number],
                int(objects.categories[number]),
                self.boxes[number],
                area,
                objects.crowd[number],
            )
            for number, area in zip(numbers, areas.tolist(), strict=True)
        ]

    def notes(self) -> list[Note]:
        """None."""
        return []


class _DrawnSegments:
    """Segments drawn from outlines and run lengths."""

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        self.shapes = annotations.objects.shapes or Shapes.none(0)
        self.numbers, self.sizes = objects_of(annotations), all_sizes(annotations)
        self.overlapping: list[str] = []
        self.hidden: list[str] = []
        self.unfitting: list[str] = []

    def write(self, row: int, file: Path) -> list[dict[str, Any]]:
        """Draws the objects of an image; its segments, as of `_ReadSegments`."""
        name, objects = self.annotations.name(row), self.annotations.objects
        size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        regions = []
        for number in self.numbers[row].tolist():
            try:
                regions.append((number, self.shapes.region(number, size)))
            except DataError:
                self.unfitting.append(name)
        ids = np.zeros(size, dtype=np.int32)
        for position in sorted(range(len(regions)), key=lambda position: -regions[position][1].area):
            mask, left, top = regions[position][1].patch()
            part = ids[top : top + mask.shape[0], left : left + mask.shape[1]]
            if (mask & (part > 0)).any():
                self.overlapping.append(name)
            part[mask] = position + 1
        infos = []
        for key, ((number, _), visible) in enumerate(zip(regions, label_regions(ids, len(regions)), strict=True), 1):
            if visible.area:
                box = np.array(visible.bounds())
                infos.append(_info(key, int(objects.categories[number]), box, visible.area, objects.crowd[number]))
            else:
                self.hidden.append(name)
        _save(ids, file)
        return infos

    def notes(self) -> list[Note]:
        """What was drawn otherwise than it was."""
        return [
            Note.of("object", which, done, names)
            for which, done, names in (
                ("in front of another", "drawn over it", self.overlapping),
                ("without a visible pixel", "left out", self.hidden),
                ("whose mask has another size than its image", "left out", self.unfitting),
            )
            if names
        ]


def _drawable(annotations: Annotations, notes: list[Note], target: Target) -> Annotations:
    """Annotations whose objects all have outlines or run lengths, those of class masks as stuff.

    Raises:
        DataError: there is none.
    """
    if annotations.masks is not None:
        stuff = tuple(replace(category, is_thing=bool(category.is_thing)) for category in annotations.categories)
        annotations = replace(masks_as_objects(annotations, notes, target.progress), categories=stuff)
    objects = annotations.objects
    annotations = without(annotations, ~objects.has_shape, "without an outline or a mask", notes)
    if len(objects) and not len(annotations.objects):
        raise DataError(f"{annotations.where}: none of its objects has an outline or a mask to draw; use coco")
    if objects.ids is not None or np.isfinite(objects.areas).any():
        notes.append(
            Note.of("object", "with an id or an area", "numbered and measured anew", annotations.names(objects.rows))
        )
    return annotations


def _mask_names(names: Sequence[str], parts: Sequence[np.ndarray]) -> list[str]:
    """The names of PNG files without their ending: those of the images, with a number where two of a split would have one."""
    stems = [name.rpartition("/")[2].rpartition(".")[0] for name in names]
    for rows in parts:
        taken: dict[str, int] = {}
        for row in rows.tolist():
            count = taken[stems[row].lower()] = taken.get(stems[row].lower(), 0) + 1
            stems[row] += "" if count == 1 else f"~{count}"
    return stems


def _info(key: Any, category: int, box: np.ndarray, area: float, crowd: bool) -> dict[str, Any]:
    """The entry of a segment, without numbers that are not finite."""
    entry: dict[str, Any] = {"id": key, "category_id": category}
    if np.isfinite(box).all():
        left, top, right, bottom = (_plain(side) for side in box.tolist())
        entry["bbox"] = [left, top, _plain(right - left), _plain(bottom - top)]
    return {**entry, "area": _plain(area), "iscrowd": int(crowd)}


def _plain(value: float) -> float:
    """A whole number without a point."""
    return int(value) if float(value).is_integer() else float(value)


def _categories(annotations: Annotations, ids: Sequence[Any]) -> list[dict[str, Any]]:
    rows = []
    for number, category in zip(ids, annotations.categories, strict=True):
        entry = {"id": number, "name": category.name, "supercategory": category.supercategory}
        entry["isthing"] = int(category.is_thing is not False)
        rows.append(entry if category.color is None else {**entry, "color": list(category.color)})
    return rows


def _save(ids: np.ndarray, file: Path) -> None:
    """Writes segment ids as the colors of a PNG file."""
    Image.fromarray(segment_colors(ids)).save(file, "PNG")

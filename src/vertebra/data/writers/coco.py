"""Writes COCO JSON: ``annotations/instances_train.json`` for each split, or ``annotations/instances.json``, and ``images``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations, Category
from vertebra.data.readers.coco_scope import NEGATIVE, NOT_EXHAUSTIVE
from vertebra.data.writers.base import Target, Writer, split_rows
from vertebra.data.writers.images import all_sizes, copy_images, image_names
from vertebra.data.writers.kinds import finite_boxes, has_runs, masks_as_objects
from vertebra.tasks.prediction import coco_boxes

MOST_DIGITS = 8  # behind the point of a side that is written short


class CocoWriter(Writer):
    """COCO JSON with boxes, outlines, run lengths and keypoints."""

    name = "coco"
    summary = "COCO JSON (annotations/instances_train.json and images)"
    reader = "coco"
    holds = frozenset({"boxes", "outlines", "points", "masks"})
    keeps = frozenset(
        {
            "image ids",
            "object ids",
            "class ids",
            "areas",
            "crowd",
            "attributes",
            "class details",
            "hidden points",
            "label scope",
        }
    )

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a file for each split; ids, areas and boxes that the data set lacks are filled in.

        A width is the number that, added to the left edge, gives the right edge again.
        """
        notes: list[Note] = []
        annotations = masks_as_objects(annotations, notes, target.progress)
        names = image_names(annotations, notes)
        copy_images(annotations, [f"images/{name}" for name in names], target)
        parts = split_rows(annotations, notes)
        entries = _Entries(annotations, names, list(parts.values()), notes)
        folder = target.folder / "annotations"
        folder.mkdir()
        for split, rows in parts.items():
            entries.write(folder / (f"instances_{split}.json" if split else "instances.json"), rows)
        pairs = [category.name for category in annotations.categories if category.flip_pairs]
        if pairs:
            notes.append(
                Note.of(
                    "class", "with pairs of points that are exchanged in mirrored images", "written without them", pairs
                )
            )
        return notes


class _Entries:
    """The entries of all files."""

    def __init__(
        self, annotations: Annotations, names: Sequence[str], parts: Sequence[np.ndarray], notes: list[Note]
    ) -> None:
        self.annotations, self.names = annotations, names
        objects = annotations.objects
        self.sizes = all_sizes(annotations)
        of_parts = [np.flatnonzero(np.isin(objects.rows, rows)) for rows in parts]
        self.image_ids = filled_ids(annotations.image_ids, parts, "image", notes)
        self.object_ids = filled_ids(objects.ids, of_parts, "object", notes)
        ids = tuple(category.id for category in annotations.categories)
        self.category_ids = filled_ids(ids, [np.arange(len(ids))], "class", notes)
        self.drawn = objects.has_shape
        if annotations.scope is not None:
            self.shown = presence(objects.rows, objects.categories, len(annotations), len(ids))
        edges = finite_boxes(annotations, notes)
        self.boxes = exact_coco_boxes(edges, annotations, notes)
        self.areas = np.where(np.isfinite(objects.areas), objects.areas, _areas(objects.shapes, edges))

    def write(self, file: Path, rows: np.ndarray) -> None:
        """Writes the file of some images, an entry on each line."""
        number_of = np.isin(self.annotations.objects.rows, rows)
        lists = {
            "images": map(self.image, rows.tolist()),
            "annotations": map(self.annotation, np.flatnonzero(number_of).tolist()),
            "categories": itertools.starmap(
                _category, zip(self.category_ids, self.annotations.categories, strict=True)
            ),
        }
        with file.open("wb") as opened:
            for mark, (key, entries) in zip("{,,", lists.items(), strict=True):
                opened.write(f'{mark}\n"{key}": ['.encode())
                opened.writelines(_lines(entries))
                opened.write(b"\n]")
            opened.write(b"\n}\n")

    def image(self, row: int) -> dict[str, Any]:
        """The entry of an image."""
        height, width = self.sizes[row].tolist()
        entry = {"id": self.image_ids[row], "file_name": self.names[row], "width": width, "height": height}
        return entry | self._scope(row)

    def _scope(self, row: int) -> dict[str, list[Any]]:
        """LVIS's lists of the categories that are annotated in an image; none if all are."""
        scope, count = self.annotations.scope, len(self.category_ids)
        exhaustive = None if scope is None else scope.of_image(row, count)
        if exhaustive is None:
            return {}
        shown = self.shown[row]
        lists = {NEGATIVE: exhaustive & ~shown, NOT_EXHAUSTIVE: shown & ~exhaustive}
        return {key: [self.category_ids[number] for number in np.flatnonzero(chosen)] for key, chosen in lists.items()}

    def annotation(self, number: int) -> dict[str, Any]:
        """The entry of an object."""
        objects = self.annotations.objects
        entry: dict[str, Any] = {
            "id": self.object_ids[number],
            "image_id": self.image_ids[int(objects.rows[number])],
            "category_id": self.category_ids[int(objects.categories[number])],
        }
        if not np.isnan(self.boxes[number]).any():
            entry["bbox"] = self.boxes[number].tolist()
        if objects.shapes is not None and self.drawn[number]:
            entry["segmentation"] = segmentation(objects.shapes, number)
        if np.isfinite(self.areas[number]):
            entry["area"] = float(self.areas[number])
        entry["iscrowd"] = int(objects.crowd[number])
        first, last = objects.point_offsets[number : number + 2].tolist()
        if last > first:
            points = objects.points[first:last]
            entry["keypoints"] = [x for point in points.tolist() for x in (*point[:2], int(point[2]))]
            entry["num_keypoints"] = int((points[:, 2] > 0).sum())
        if objects.attributes is not None and objects.attributes[number]:
            entry["attributes"] = dict(objects.attributes[number])
        return entry


def presence(rows: np.ndarray, categories: np.ndarray, images: int, count: int) -> np.ndarray:
    """(images, count) bool, the categories of the objects in each image."""
    shown = np.zeros((images, count), dtype=bool)
    shown[rows, categories] = True
    return shown


def segmentation(shapes: Shapes, number: int) -> Any:
    """COCO's ``segmentation`` of one object: its outlines, or its run lengths as they are stored."""
    if has_runs(shapes, number):
        text = shapes.text[shapes.text_of[number] : shapes.text_of[number + 1]]
        runs = shapes.runs[shapes.runs_of[number] : shapes.runs_of[number + 1]]
        counts = text.tobytes().decode("ascii") if len(text) else runs.tolist()
        return {"size": shapes.sizes[number].tolist(), "counts": counts}
    offsets = shapes.outlines[shapes.outlines_of[number] : shapes.outlines_of[number + 1] + 1].tolist()
    return [shapes.points[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def filled_ids(ids: Sequence[Any] | None, groups: Sequence[np.ndarray], noun: str, notes: list[Note]) -> list[Any]:
    """Ids for all entries: their own, and free numbers from 1 for those that have none.

    Args:
        ids: of the entries; None if they have none.
        groups: the entries of each file; where two of one file share an id, all of that file get numbers, with a note.
        noun: of an entry.
        notes: gets new notes.
    """
    filled: list[Any] = list(ids) if ids is not None else [None] * sum(map(len, groups))
    for group in groups:
        numbers = group.tolist()
        known = [str(filled[number]) for number in numbers if filled[number] is not None]
        taken = set(known)
        if len(taken) < len(known):
            notes.append(
                Note.of(noun, "with an id that another has, too,", "numbered anew with all of its file", [], len(known))
            )
            taken = set()
            for number in numbers:
                filled[number] = None
        for number in numbers:
            if filled[number] is None:
                filled[number] = next(key for key in itertools.count(number + 1) if str(key) not in taken)
                taken.add(str(filled[number]))
    return filled


def exact_coco_boxes(edges: np.ndarray, annotations: Annotations, notes: list[Note]) -> np.ndarray:
    """(B, 4) x, y, width and height whose sums are the edges again, as far as there are such numbers of 64 bits."""
    boxes = np.array(coco_boxes(edges), dtype=np.float64).reshape(-1, 4)
    for towards in (np.inf, -np.inf):
        sums = boxes[:, :2] + boxes[:, 2:]
        nearer = np.nextafter(boxes[:, 2:], towards)
        better = np.abs(boxes[:, :2] + nearer - edges[:, 2:]) < np.abs(sums - edges[:, 2:])
        boxes[:, 2:] = np.where(better, nearer, boxes[:, 2:])
    for digits in range(
        MOST_DIGITS, -1, -1
    ):  # of the sides with that sum the one with the fewest digits: 174.71 as it was
        short = np.round(boxes[:, 2:], digits)
        boxes[:, 2:] = np.where(boxes[:, :2] + short == edges[:, 2:], short, boxes[:, 2:])
    rounded = (boxes[:, :2] + boxes[:, 2:] != edges[:, 2:]).any(axis=1) & ~np.isnan(edges).any(axis=1)
    if rounded.any():
        names = annotations.names(annotations.objects.rows[rounded])
        notes.append(
            Note.of(
                "box", "whose right or lower edge is no sum of numbers of 64 bits", "rounded in the last digit", names
            )
        )
    return boxes


def _areas(shapes: Shapes | None, edges: np.ndarray) -> np.ndarray:
    """(B,) areas of the objects' outlines or run lengths, or else of their boxes."""
    with np.errstate(over="ignore", invalid="ignore"):
        areas: np.ndarray = (edges[:, 2:] - edges[:, :2]).prod(axis=1)
    if shapes is None:
        return areas
    outlined = np.diff(shapes.outlines_of) > 0
    if outlined.any():
        each = outline_areas(shapes.points, shapes.outlines)
        areas[outlined] = np.add.reduceat(each, shapes.outlines_of[:-1][outlined])
    for number in np.flatnonzero(shapes.drawn & ~outlined).tolist():
        areas[number] = shapes.region(number, (int(shapes.sizes[number, 0]), int(shapes.sizes[number, 1]))).area
    return areas


def outline_areas(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(L,) the areas inside of outlines.

    Args:
        points: (P,) x, y, x, y … of all outlines, an even number each.
        offsets: (L + 1,) of each outline in the points.
    """
    x, y = points[: len(points) // 2 * 2].reshape(-1, 2).astype(np.float64).T
    following = np.arange(1, len(x) + 1)
    starts, ends = offsets[:-1] // 2, offsets[1:] // 2
    some = ends > starts
    following[ends[some] - 1] = starts[some]
    areas = np.zeros(len(starts))
    if some.any():
        areas[some] = np.abs(np.add.reduceat(x * y[following] - x[following] * y, starts[some])) / 2
    return areas


def _category(category_id: Any, category: Category) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": category_id, "name": category.name, "supercategory": category.supercategory}
    if category.points:
        entry["keypoints"] = list(category.points)
        entry["skeleton"] = [[first + 1, second + 1] for first, second in category.skeleton]
    if category.color is not None:
        entry["color"] = list(category.color)
    if category.is_thing is not None:
        entry["isthing"] = int(category.is_thing)
    return entry


def _lines(entries: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder(enc_hook=str)
    comma = b"\n"
    for entry in entries:
        yield comma + encoder.encode(entry)
        comma = b",\n"

"""Writes YOLO: a text file for each image, with a line for each object, and ``data.yaml``.

``images/train/a.jpg`` has its lines in ``labels/train/a.txt``. A data set with points has a box and the points on each line; one
with outlines has an outline, or a box where an object has none; all others have boxes. Numbers are shares of the image's width and
height with all digits of 64 bits: multiplied again they are within 1e-9 pixels of what they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import yaml

from vertebra.annotations.notes import Note
from vertebra.annotations.ranges import take_ranges
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.annotations.tracing import as_one_outline
from vertebra.data.writers.base import Target, Writer, objects_of, split_rows
from vertebra.data.writers.images import copy_images, image_names, in_folder_order, pixel_sizes
from vertebra.data.writers.kinds import finite_boxes, has_runs, masks_as_objects, outlines_of, without
from vertebra.errors import DataError


class YoloWriter(Writer):
    """YOLO's text files with boxes, outlines, or boxes and points."""

    name = "yolo"
    summary = "YOLO (data.yaml, images and labels)"
    reader = "yolo"
    holds = frozenset({"boxes", "outlines", "points", "masks"})
    keeps = frozenset({"hidden points"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes the label files; what is outside of its image is clipped to it, as the format requires, with a note.

        Without splits there is ``classes.txt`` and no ``data.yaml``, unless objects have points.
        """
        notes: list[Note] = []
        annotations = masks_as_objects(annotations, notes, target.progress)
        names = image_names(annotations, notes, folders="short", by_stem=True, by_split=True)
        parts = split_rows(annotations, notes)
        folder_of = {int(row): f"{split}/" if split else "" for split, rows in parts.items() for row in rows}
        names = [folder_of[row] + name for row, name in enumerate(names)]
        sizes = pixel_sizes(annotations, np.arange(len(annotations)))
        lines = _Lines.of(annotations, sizes, notes)
        copy_images(annotations, [f"images/{name}" for name in names], target)
        for row, numbers in enumerate(objects_of(lines.annotations)):
            if annotations.annotated[row]:
                file = target.folder / "labels" / f"{names[row].rpartition('.')[0]}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(lines.line(number) for number in numbers.tolist()), encoding="utf-8")
        self._describe(annotations, parts, names, lines.point_count, target, notes)
        return notes

    def _describe(
        self,
        annotations: Annotations,
        parts: Mapping[str, np.ndarray],
        names: Sequence[str],
        point_count: int,
        target: Target,
        notes: list[Note],
    ) -> None:
        """Writes the names of the classes, and where the images of each split are."""
        classes = annotations.category_names
        if "" in parts and not point_count:
            if not in_folder_order(names):
                notes.append(Note.of("image", "of no split", "written without their order", [], len(names)))
            if any(name != name.strip() or "\n" in name for name in classes):
                raise DataError(
                    "a class name with a line break, or a space at its end, cannot be written to classes.txt"
                )
            (target.folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
            return
        if "" in parts:
            notes.append(Note.of("image", "of no split", "written as one of train", [], len(annotations)))
        entries: dict[str, object] = {}
        for split, rows in parts.items():
            listed = [names[row] for row in rows.tolist()]
            folder = f"images/{split}" if split else "images"
            if in_folder_order(listed):
                entries[split or "train"] = folder
            else:  # a list keeps the order of the images, which a folder does not have
                entries[split or "train"] = f"{split or 'train'}.txt"
                text = "".join(f"./images/{name}\n" for name in listed)
                (target.folder / f"{split or 'train'}.txt").write_text(text, encoding="utf-8")
        if point_count:
            entries["kpt_shape"] = [point_count, 3]
            entries |= _points_of_classes(annotations, point_count)
        entries["names"] = dict(enumerate(classes))
        text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
        (target.folder / "data.yaml").write_text(text, encoding="utf-8")


def _points_of_classes(annotations: Annotations, count: int) -> dict[str, object]:
    """Names of the points and their order in mirrored images, if all classes agree."""
    entries: dict[str, object] = {}
    named = {category.points for category in annotations.categories if category.points}
    if len(named) == 1 and len(names := next(iter(named))) == count:
        entries["kpt_names"] = {number: list(names) for number in range(len(annotations.categories))}
    pairs = {category.flip_pairs for category in annotations.categories if category.points}
    if len(pairs) == 1 and (chosen := next(iter(pairs))) is not None:
        order = list(range(count))
        for first, second in chosen:
            order[first], order[second] = second, first
        entries["flip_idx"] = order
    return entries


class _Lines:
    """The lines of all objects.

    Attributes:
        annotations: with the objects that can be written.
        point_count: number of points of each object; 0 without points.
    """

    def __init__(
        self, annotations: Annotations, boxes: np.ndarray, sizes: np.ndarray, point_count: int, outlined: bool
    ) -> None:
        self.annotations, self.point_count = annotations, point_count
        objects = annotations.objects
        self.scale = sizes[objects.rows][:, ::-1].astype(np.float64)
        with np.errstate(invalid="ignore"):
            center, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            self.boxes = np.concatenate([center / self.scale, sides / self.scale], axis=1)
        self.outlined = objects.has_shape & outlined
        self.shapes = objects.shapes or Shapes.none(len(objects))

    @classmethod
    def of(cls, annotations: Annotations, sizes: np.ndarray, notes: list[Note]) -> _Lines:
        """The lines of a data set.

        Args:
            annotations: of the data set.
            sizes: (n, 2) (height, width) of the images.
            notes: gets notes about what the lines do not hold.
        """
        objects = annotations.objects
        count = int(np.diff(objects.point_offsets).max(initial=0))
        drawn = objects.has_shape & (not count)
        _note_changes(annotations, count, notes)
        boxless = replace(annotations, objects=replace(objects, boxes=np.where(drawn[:, None], np.nan, objects.boxes)))
        boxes = finite_boxes(boxless, [] if drawn.any() else notes)
        usable = ~np.isnan(boxes).any(axis=1)
        annotations = without(annotations, ~usable, "without a box, an outline or points", notes)
        boxes = boxes[usable]
        clipped = _clipped(annotations, boxes, sizes, drawn[usable], notes)
        empty = clipped[:, 2:] == clipped[:, :2]
        wrong = np.any((boxes[:, 2:] < boxes[:, :2]) | (empty & (boxes[:, 2:] > boxes[:, :2])), axis=1)
        annotations = without(annotations, wrong, "outside of its image, or with sides in reverse,", notes)
        return cls(_inside(annotations, sizes, notes), clipped[~wrong], sizes, count, bool(drawn.any()))

    def line(self, number: int) -> str:
        """The line of an object."""
        objects, scale = self.annotations.objects, self.scale[number]
        values = self.boxes[number]
        if self.outlined[number]:
            values = (as_one_outline(outlines_of(self.shapes, number)).reshape(-1, 2) / scale).reshape(-1)
        elif self.point_count:
            points = np.zeros((self.point_count, 3))
            first, last = objects.point_offsets[number : number + 2].tolist()
            points[: last - first] = objects.points[first:last]
            points[:, :2] /= scale
            values = np.concatenate([values, points.reshape(-1)])
        return f"{int(objects.categories[number])} {' '.join(map(_text, values.tolist()))}\n"


def _text(value: float) -> str:
    return str(int(value)) if value in (0, 1, 2) else repr(value)


def _note_changes(annotations: Annotations, count: int, notes: list[Note]) -> None:
    """Notes about objects of which a line cannot hold all; ``count`` is the number of points of a line."""
    objects = annotations.objects
    for chosen, which, done in (
        (objects.has_shape & (count > 0), "with an outline beside its points", "written without the outline"),
        (objects.has_box & objects.has_shape & (not count), "with a box beside its outline", "written without the box"),
        (np.diff(objects.point_offsets) < count, "with fewer points than others", "filled up with points not labeled"),
    ):
        if chosen.any():
            notes.append(Note.of("object", which, done, annotations.names(objects.rows[chosen])))


def _clipped(
    annotations: Annotations, boxes: np.ndarray, sizes: np.ndarray, drawn: np.ndarray, notes: list[Note]
) -> np.ndarray:
    """Boxes clipped to their images, with a note; ``drawn`` (B,) are those whose outline is written."""
    limits = sizes[annotations.objects.rows][:, [1, 0, 1, 0]].astype(np.float64)
    clipped: np.ndarray = np.clip(boxes, 0, limits)
    beyond = (clipped != boxes).any(axis=1) & ~drawn
    if beyond.any():
        names = annotations.names(annotations.objects.rows[beyond])
        notes.append(Note.of("box", "reaching out of the image", "clipped", names))
    return clipped


def _inside(annotations: Annotations, sizes: np.ndarray, notes: list[Note]) -> Annotations:
    """Annotations whose outlines are inside of their images, and whose points outside are not labeled, with notes."""
    objects = annotations.objects
    limits = sizes[objects.rows][:, ::-1].astype(np.float64)
    of_points = np.repeat(np.arange(len(objects)), np.diff(objects.point_offsets))
    spots = objects.points[:, :2]
    stray = ((spots < 0) | (spots > limits[of_points])).any(axis=1)
    labeled = stray & (objects.points[:, 2] > 0)
    if labeled.any():
        names = annotations.names(objects.rows[of_points[labeled]])
        notes.append(Note.of("point", "outside of its image", "written as not labeled", names))
    points = np.where(stray[:, None], 0.0, objects.points)
    shapes = objects.shapes
    if shapes is not None and not objects.has_points.any():  # with points, outlines are not written
        _note_parts(annotations, shapes, notes)
        shapes = _clipped_outlines(annotations, shapes, limits, notes)
    return replace(annotations, objects=replace(objects, points=points, shapes=shapes))


def _clipped_outlines(annotations: Annotations, shapes: Shapes, limits: np.ndarray, notes: list[Note]) -> Shapes:
    _, picked = take_ranges(shapes.outlines, np.arange(len(shapes.outlines) - 1))
    of_outlines = np.repeat(np.arange(len(shapes)), np.diff(shapes.outlines_of))
    of_values = np.repeat(of_outlines, np.diff(shapes.outlines))
    highest = limits[of_values, np.arange(len(picked)) % 2] if len(picked) else np.zeros(0)
    clipped = np.clip(shapes.points, 0, highest)
    beyond = np.unique(of_values[clipped != shapes.points])
    if len(beyond):
        names = annotations.names(annotations.objects.rows[beyond])
        notes.append(Note.of("outline", "reaching out of the image", "clipped", names))
    return shapes.with_points(clipped)


def _note_parts(annotations: Annotations, shapes: Shapes, notes: list[Note]) -> None:
    rows = annotations.objects.rows
    several = np.diff(shapes.outlines_of) > 1
    if several.any():
        done = "joined to one by lines without width"
        notes.append(Note.of("object", "of several outlines", done, annotations.names(rows[several])))
    encoded = np.array([has_runs(shapes, number) for number in range(len(shapes))], dtype=bool)
    if encoded.any():
        done = "written as the outline of its pixels"
        notes.append(Note.of("object", "with a mask", done, annotations.names(rows[encoded])))

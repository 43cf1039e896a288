"""What labeling tools have in common: images with objects that are drawn as boxes, outlines, masks and named points."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.boxes import FARTHEST
from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import sorted_names
from vertebra.annotations.drawing import drawn_patch, patch_runs
from vertebra.annotations.notes import Note
from vertebra.annotations.run_lengths import Patch
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.annotations.values import whole_number
from vertebra.errors import DataError
from vertebra.preprocess.images import image_size

LARGEST = 1_000_000  # maximum side of an image in pixels
MOST_POINTS = 10_000  # different names of points of one class


@dataclass
class ToolObject:
    """An object as a tool has it.

    Attributes:
        name: of its class.
        box: xyxy in image pixels.
        outlines: (2P,) float64 x, y, x, y … each, at least three points.
        patches: masks of parts of the image, until `encode_masks` makes run lengths of them.
        runs: run lengths on the whole image.
        points: x and y in image pixels and visibility, by name.
        crowd: whether it marks a crowd, or a region that does not count.
        id: of the file, if it has one.
        attributes: further named values.
    """

    name: str
    box: tuple[float, float, float, float] | None = None
    outlines: list[np.ndarray] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    runs: Segmentation | None = None
    points: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    crowd: bool = False
    id: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class ToolImage:
    """An image as a tool has it.

    Attributes:
        name: its path as the file has it; of use to find it, see `vertebra.data.readers.image_names`.
        objects: in the file's order.
        labels: classes of the whole image.
        size: (height, width), 0 if unknown.
        split: "" for none.
        group: images of one group belong together, as the frames of a video; "" for none.
        id: of the file, if it has one.
        file: its annotation file relative to the root, if it has one of its own.
        annotated: False for an image that nobody annotated.
    """

    name: str
    objects: list[ToolObject] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    split: str = ""
    group: str = ""
    id: Any = None
    file: str = ""
    annotated: bool = True


class Problems:
    """Counts what is wrong or cannot be used, by kind, for one note each.

    Attributes:
        noted: further notes, which come first.
    """

    def __init__(self) -> None:
        self.noted: list[Note] = []
        self.names: dict[tuple[str, str, str], list[str]] = {}

    def add(self, noun: str, which: str, done: str, name: str) -> None:
        """Counts one; "dropped" are annotations that are wrong, "left out" those that are of no use here."""
        self.names.setdefault((noun, which, done), []).append(name)

    def drop(self, which: str, name: str) -> None:
        """Counts a wrong annotation that is left out."""
        self.add("annotation", which, "dropped", name)

    @property
    def dropped(self) -> int:
        """Number of wrong annotations."""
        return sum(len(names) for (_, _, done), names in self.names.items() if done == "dropped")

    def notes(self) -> list[Note]:
        """One for each kind."""
        return self.noted + [Note.of(*kind, names) for kind, names in self.names.items()]


def coordinates(values: Any, count: int | None = None) -> np.ndarray | None:
    """Numbers of a file, however nested, as (n,) float64; None if one is no finite number, or there are not ``count``."""
    try:
        numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return None
    fits = count is None or len(numbers) == count
    return numbers if fits and bool((np.abs(numbers) <= FARTHEST).all()) else None


def number(value: Any, default: float = math.nan) -> float:
    """A finite number, also as text; the default for other values."""
    numbers = None if isinstance(value, list) else coordinates(value, 1)
    return default if numbers is None else float(numbers[0])


def size_of(height: Any, width: Any) -> tuple[int, int]:
    """(height, width) in pixels; zeros if they are no size."""
    sides = (whole_number(height), whole_number(width))
    if sides[0] is None or sides[1] is None or not all(0 < side <= LARGEST for side in sides if side is not None):
        return (0, 0)
    return (sides[0], sides[1])


def text(value: Any) -> str:
    """A name: text, or a number as text; "" for other values."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return value.strip() if isinstance(value, str) else str(value)[:100]


def tool_annotations(
    images: Sequence[ToolImage],
    paths: Sequence[str],
    root: Path,
    where: Path,
    categories: Sequence[Category],
    problems: Problems,
) -> Annotations:
    """The images of a tool as annotations.

    Args:
        images: as the tool has them.
        paths: of each image relative to the root; those of "" do not exist and are left out.
        root, where: as in `Annotations`.
        categories: those that the tool lists; others follow by name.
        problems: become notes.

    Raises:
        DataError: no image is left.
    """
    there = [(image, path) for image, path in zip(images, paths, strict=True) if path]
    if not there:
        raise DataError(f"{where}: it has no image")
    known = _categories([image for image, _ in there], categories, problems)
    builder = AnnotationBuilder(root, where)
    for category in known.values():
        builder.category(category)
    rows: dict[str, int] = {}
    groups: list[int] = []
    numbers: dict[str, int] = {}
    for image, path in there:
        if path in rows:
            problems.add("image", "that several entries name", "read with the annotations of all", path)
        else:
            rows[path] = builder.image(
                path,
                size=image.size,
                id=image.id,
                split=SPLITS.index(image.split) if image.split else -1,
                file=image.file,
                annotated=image.annotated,
            )
            groups.append(numbers.setdefault(image.group or path, len(numbers)))
        encode_masks(image, problems, root / path)
        _add(builder, rows[path], image, path, known, problems)
    grouped = np.array(groups, dtype=np.int64) if any(image.group for image, _ in there) else None
    return replace(builder.build(), groups=grouped, notes=problems.notes(), dropped=problems.dropped)


def _categories(images: Sequence[ToolImage], categories: Sequence[Category], problems: Problems) -> dict[str, Category]:
    """All categories by name; those without a list of points get the names of their objects' points as they occur."""
    known = {category.name: category for category in categories}
    named = {name for image in images for name in image.labels}
    points: dict[str, dict[str, None]] = {}
    for image in images:
        for one in image.objects:
            named.add(one.name)
            points.setdefault(one.name, {}).update(dict.fromkeys(one.points))
    for name in sorted_names(named):
        category = known.get(name, Category(name))
        names = tuple(points.get(name, ()))
        if not category.points and len(names) > MOST_POINTS:
            problems.add("class", f"with more than {MOST_POINTS} names of points", "taken as without points", name)
            names = ()
        known[name] = category if category.points else replace(category, points=names)
    return known


def _add(
    builder: AnnotationBuilder,
    row: int,
    image: ToolImage,
    path: str,
    known: Mapping[str, Category],
    problems: Problems,
) -> None:
    for name in image.labels:
        builder.label(row, name)
    for one in image.objects:
        names = known[one.name].points
        for _ in (name for name in one.points if name not in names):
            problems.add("point", f"with a name that '{one.name}' does not have", "dropped", path)
        values = [one.points.get(name, (0.0, 0.0, 0.0)) for name in names]
        builder.object(
            row,
            one.name,
            box=one.box,
            shape=one.runs or Segmentation(tuple(one.outlines)),
            points=np.array(values, dtype=np.float64) if one.points and values else None,
            crowd=one.crowd,
            id=one.id,
            attributes=one.attributes,
        )


def encode_masks(image: ToolImage, problems: Problems, file: Path | None = None) -> None:
    """Makes run lengths of the masks of an image's objects, which need less memory; an object that cannot be drawn is dropped.

    Args:
        image: without a size, its masks stay as they are.
        file: has the size of an image that is without one.
    """
    if not any(one.patches for one in image.objects) or not (all(image.size) or file):
        return
    kept = []
    for one in image.objects:
        try:
            if one.patches:
                size = image.size if file is None else image_size(file)
                drawn = [drawn_patch(one.outlines, size)] if one.outlines else []
                one.runs, one.patches, one.outlines = patch_runs([*one.patches, *drawn], size), [], []
            kept.append(one)
        except DataError:
            problems.drop("with a mask for an image that is too large or unreadable", image.name)
    image.objects = kept


def join_parts(parts: Sequence[ToolObject]) -> ToolObject:
    """Several shapes that are one object: the hull of their boxes, and all outlines, masks and points."""
    first = parts[0]
    boxes = np.array([part.box for part in parts if part.box is not None], dtype=np.float64).reshape(-1, 4)
    hull = None if not len(boxes) else (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    return ToolObject(
        first.name,
        hull,
        outlines=[outline for part in parts for outline in part.outlines],
        patches=[patch for part in parts for patch in part.patches],
        points={name: point for part in parts for name, point in part.points.items()},
        crowd=any(part.crowd for part in parts),
        id=first.id,
        attributes={key: value for part in reversed(parts) for key, value in part.attributes.items()},
    )


def of_split(annotations: Annotations, split: str | None) -> Annotations:
    """The images of one split, with the categories of all; images of no split are left out with a note if others have one."""
    if annotations.splits is None:
        return annotations
    stray = np.flatnonzero(annotations.splits < 0)
    if len(stray):
        names = [os.fsdecode(annotations.images[row]) for row in stray.tolist()]
        annotations.notes.append(Note.of("image", "of no split, where others are of one,", "left out", names))
    chosen = annotations.splits >= 0 if split is None else annotations.splits == SPLITS.index(split)
    return annotations.take(np.flatnonzero(chosen))
